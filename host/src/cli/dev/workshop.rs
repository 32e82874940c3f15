//! Builds what has changed: one project after the other, each until a build has ended without a change meanwhile.
//!
//! Sources that do not compile change nothing: the version before stays in service, and the other projects go on.
//! A change of the project that is being built begins its build anew; one of another waits for its turn.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;

use super::{say, sources};
use crate::cli::{Failure, build};
use crate::config::options::NodeOptions;
use crate::error::explained;
use crate::reload::watch::{Change, Watcher};
use crate::toolchain::{Project, Workbench};

/// One project.
#[derive(Debug)]
pub(super) struct Piece {
    project: Project,
    output: PathBuf,
    /// Whether the sources are other ones than those of the last build.
    is_changed: bool,
    /// Whether the last build failed.
    has_error: bool,
}

impl Piece {
    /// A project that has not been built yet; its component goes into a folder.
    pub(super) fn new(project: Project, folder: &Path) -> Self {
        let output = folder.join(&project.name).with_extension("wasm");
        Self { project, output, is_changed: true, has_error: false }
    }

    /// Where the component goes.
    pub(super) fn folder(&self) -> &Path {
        self.output.parent().unwrap_or_else(|| Path::new("."))
    }

    /// The files that belong to this project alone, also where others have the same root: the one that it was
    /// named by, and its settings.
    fn own_files(&self) -> impl Iterator<Item = PathBuf> {
        let settings = self.project.root.join(format!("{}.toml", self.project.name));
        [self.project.entry.clone(), Some(settings)].into_iter().flatten()
    }

    /// The first of these files that is a source of this project; `owned` are files of single projects.
    fn source_in<'a>(
        &self,
        files: &'a BTreeSet<PathBuf>,
        owned: &BTreeSet<PathBuf>,
    ) -> Option<&'a PathBuf> {
        let is_own = |file: &PathBuf| self.own_files().any(|own| own == *file);
        files.iter().find(|file| {
            sources::is_source(file, &self.project.root) && (!owned.contains(*file) || is_own(file))
        })
    }

    async fn build(
        project: &Project,
        output: &Path,
        release: bool,
        foreign: bool,
        bench: &Workbench,
        options: &NodeOptions,
    ) -> Result<build::Built, Failure> {
        let folder = output.parent().unwrap_or_else(|| Path::new("."));
        match foreign {
            true => build::offer_settings(project, folder)?,
            false => build::put_settings(project, folder)?,
        }
        build::build(project, output, release, bench, options).await
    }
}

/// What is built, and with what.
pub(super) struct Workshop {
    pieces: Vec<Piece>,
    /// Files that belong to one of the projects alone.
    owned: BTreeSet<PathBuf>,
    bench: Workbench,
    options: NodeOptions,
    release: bool,
    /// Whether the folder of the components belongs to somebody else.
    foreign: bool,
    watcher: Watcher,
}

impl Workshop {
    /// Watches the sources; nothing is built yet.
    ///
    /// # Errors
    /// [`Failure`] when they cannot be watched.
    pub(super) fn new(
        pieces: Vec<Piece>,
        bench: Workbench,
        options: NodeOptions,
        release: bool,
        foreign: bool,
    ) -> Result<Self, Failure> {
        let folders = pieces.iter().flat_map(|piece| sources::folders(&piece.project.root));
        let watcher =
            Watcher::of_folders(folders).map_err(|error| Failure::Failed(explained(&error)))?;
        let owned = pieces.iter().flat_map(Piece::own_files).collect();
        Ok(Self { pieces, owned, bench, options, release, foreign, watcher })
    }

    /// The folders of the projects, each once.
    pub(super) fn roots(&self) -> BTreeSet<&Path> {
        self.pieces.iter().map(|piece| piece.project.root.as_path()).collect()
    }

    /// Builds with every change, as long as there is something to watch.
    pub(super) async fn work(&mut self) {
        while changed(&mut self.watcher, &mut self.pieces, &self.owned).await.is_some() {
            self.rebuild().await;
        }
    }

    /// Builds everything that has changed, and what changes meanwhile.
    pub(super) async fn rebuild(&mut self) {
        while let Some(at) = self.pieces.iter().position(|piece| piece.is_changed) {
            self.rebuild_one(at).await;
        }
        let failed: Vec<_> = self.pieces.iter().filter(|piece| piece.has_error).collect();
        if !failed.is_empty() && self.pieces.len() > 1 {
            let names: Vec<_> = failed.iter().map(|piece| piece.project.name.as_str()).collect();
            say(&format!(
                "{} of {} have errors: {}",
                names.len(),
                self.pieces.len(),
                names.join(", ")
            ));
        }
    }

    /// Builds one project, unless its sources change meanwhile.
    async fn rebuild_one(&mut self, at: usize) {
        let is_alone = self.pieces.len() == 1;
        let Self { pieces, owned, bench, options, release, foreign, watcher } = self;
        let Some(piece) = pieces.get_mut(at) else { return };
        piece.is_changed = false;
        let (project, output) = (piece.project.clone(), piece.output.clone());
        if !is_alone {
            say(&format!("{}: {}", project.name, project.source().display()));
        }
        // Folders that have come meanwhile are watched from now on.
        if let Err(error) = watcher.watch_too(sources::folders(&project.root)) {
            say(&explained(&error));
        }
        let mut build = pin!(Piece::build(&project, &output, *release, *foreign, bench, options));
        loop {
            tokio::select! {
                built = &mut build => {
                    if let Some(piece) = pieces.get_mut(at) {
                        piece.has_error = built.is_err();
                    }
                    return tell(&project, &output, built);
                }
                changed = changed(watcher, pieces, owned) => {
                    if changed.is_none() {
                        return;
                    }
                    if pieces.get(at).is_some_and(|piece| piece.is_changed) {
                        return say(&format!("{} changed again; building anew", project.name));
                    }
                }
            }
        }
    }
}

/// Says how a build has ended.
fn tell(project: &Project, output: &Path, built: Result<build::Built, Failure>) {
    match built {
        Ok(built) => say(&format!("{} is built: {}", project.name, built.summary())),
        Err(failure) => say(&format!(
            "Error: {}\n> {} is not built; waiting for the next change{}",
            failure.text(),
            project.name,
            if output.is_file() { ", the version before stays in service" } else { "" },
        )),
    }
}

/// Waits for a change of sources and notes whose they are. `None` when nothing is watched any more. Dropping the
/// future loses none.
async fn changed(
    watcher: &mut Watcher,
    pieces: &mut [Piece],
    owned: &BTreeSet<PathBuf>,
) -> Option<()> {
    loop {
        if note(&watcher.next().await?, pieces, owned) {
            return Some(());
        }
    }
}

/// Notes whose sources have changed; whether there are any.
fn note(change: &Change, pieces: &mut [Piece], owned: &BTreeSet<PathBuf>) -> bool {
    let mut is_any = false;
    for piece in pieces {
        match change {
            Change::Anything => {}
            Change::Files(files) => {
                let Some(file) = piece.source_in(files, owned) else { continue };
                let shown = file.strip_prefix(&piece.project.root).unwrap_or(file);
                say(&format!("{} changed: {}", piece.project.name, shown.display()));
            }
        }
        piece.is_changed = true;
        is_any = true;
    }
    is_any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::Language;

    fn piece(root: &str, entry: Option<&str>, name: &str) -> Piece {
        let entry = entry.map(PathBuf::from);
        let project =
            Project { language: Language::JavaScript, root: root.into(), entry, name: name.into() };
        Piece { is_changed: false, ..Piece::new(project, Path::new("/out")) }
    }

    /// The names of the projects that are built when a file has changed.
    fn built(file: &str) -> Vec<&'static str> {
        let mut pieces = [
            piece("/p", Some("/p/services/a.service.js"), "a"),
            piece("/p", Some("/p/services/b.service.js"), "b"),
            piece("/p/go", None, "c"),
        ];
        let owned = pieces.iter().flat_map(Piece::own_files).collect();
        let change = Change::Files(BTreeSet::from([file.into()]));
        let any = note(&change, &mut pieces, &owned);
        let changed = pieces.iter().zip(["a", "b", "c"]).filter(|(piece, _)| piece.is_changed);
        let names: Vec<_> = changed.map(|(_, name)| name).collect();
        assert_eq!(any, !names.is_empty());
        names
    }

    #[test]
    fn a_change_builds_the_projects_that_it_concerns() {
        assert_eq!(built("/p/services/a.service.js"), ["a"]);
        assert_eq!(built("/p/b.toml"), ["b"]);
        assert_eq!(built("/p/mixins/db.js"), ["a", "b"]);
        assert_eq!(built("/p/go/main.go"), ["a", "b", "c"]);
        assert_eq!(built("/p/go/c.toml"), ["c"]);
        assert!(built("/p/node_modules/x/a.js").is_empty());
        assert!(built("/elsewhere/a.js").is_empty());
    }

    #[test]
    fn lost_events_build_everything() {
        let mut pieces = [piece("/p", None, "a"), piece("/q", None, "b")];
        assert!(note(&Change::Anything, &mut pieces, &BTreeSet::new()));
        assert!(pieces.iter().all(|piece| piece.is_changed));
    }
}
