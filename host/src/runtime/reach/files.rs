//! The folders that a guest sees.
//!
//! They are found and checked when a version is put into service; every instance opens them anew. What of
//! the node itself lies in or around a granted folder makes the grant impossible: a guest that could write
//! there would be more than a guest. Inside a folder, wasmtime keeps guests from leaving it by `..` or links.

use std::path::{Path, PathBuf};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags,
};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::config::grants::DirGrant;
use crate::runtime::reach::Grant;
use crate::runtime::state::State;

/// As wasmtime names what is put in the place of its own functions; `tests/it/grants.rs` notices when it
/// names it otherwise.
const TYPES: &str = "wasi:filesystem/types@0.2.12";
const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";

/// Where the system itself shows what is not files.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The granted folders by their real paths, or why there are none.
pub(in crate::runtime) struct Files(Result<Vec<DirGrant>, String>);

impl Files {
    pub(super) fn check(grants: &[DirGrant], private: &[PathBuf]) -> Self {
        Self(grants.iter().map(|grant| real(grant, private)).collect())
    }

    /// Whether there are none.
    pub(in crate::runtime) fn is_empty(&self) -> bool {
        self.0.as_ref().is_ok_and(Vec::is_empty)
    }

    /// Opens the folders for an instance.
    ///
    /// # Errors
    /// Which grant is not possible, and why.
    pub(in crate::runtime) fn open(&self, builder: &mut WasiCtxBuilder) -> Result<(), String> {
        for dir in self.0.as_ref().map_err(Clone::clone)? {
            let perms = if dir.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            builder
                .preopened_dir(&dir.host, &dir.guest, perms)
                .map_err(|error| impossible(&dir.host, &format!("it cannot be opened: {error}")))?;
        }
        Ok(())
    }
}

fn impossible(path: &Path, why: &str) -> String {
    format!("the grant 'dirs' of the folder {} is not possible: {why}", path.display())
}

/// The same folder by its real path, when it may be granted.
fn real(grant: &DirGrant, private: &[PathBuf]) -> Result<DirGrant, String> {
    let no = |why: &str| Err(impossible(&grant.host, why));
    let host = match grant.host.canonicalize() {
        Ok(host) => host,
        Err(error) => return no(&format!("{error}; make it, or take the grant away")),
    };
    if !host.is_dir() {
        return no("it is no folder; grant the one that holds the file");
    }
    if host.parent().is_none() {
        return no("it is the root of all files; grant the folder that the service needs");
    }
    if SYSTEM.iter().any(|system| host.starts_with(system)) {
        return no("it is the system's own; copy what the service needs");
    }
    for own in private {
        let own = really(own);
        if own.starts_with(&host) || host.starts_with(&own) {
            let own = own.display();
            return no(&format!(
                "the node itself uses {own}; grant a folder that has nothing to do with it"
            ));
        }
    }
    Ok(DirGrant { host, ..grant.clone() })
}

/// The real path of what may not be there yet.
fn really(path: &Path) -> PathBuf {
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// Puts functions that tell what was denied in the place of wasmtime's.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);
    type Rename = (Resource<Descriptor>, String, Resource<Descriptor>, String);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store, (dir, at, path, how, flags): OpenAt| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                let opened = files.open_at(dir, at, path.clone(), how, flags).await;
                Ok((told(&store, "to open", &path, opened)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]descriptor.rename-at",
        |mut store, (dir, path, to_dir, to): Rename| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                let renamed = files.rename_at(dir, path.clone(), to_dir, to).await;
                Ok((told(&store, "to rename", &path, renamed)?,))
            })
        },
    )?;
    macro_rules! at_path {
        ($name:literal, $method:ident, $what:literal) => {
            types.func_wrap_async(
                $name,
                |mut store, (dir, path): (Resource<Descriptor>, String)| {
                    Box::new(async move {
                        let done = store.data_mut().filesystem().$method(dir, path.clone()).await;
                        Ok((told(&store, $what, &path, done)?,))
                    })
                },
            )?;
        };
    }
    at_path!("[method]descriptor.create-directory-at", create_directory_at, "to make the folder");
    at_path!("[method]descriptor.remove-directory-at", remove_directory_at, "to remove the folder");
    at_path!("[method]descriptor.unlink-file-at", unlink_file_at, "to remove");
    let mut folders = linker.instance(PREOPENS)?;
    folders.func_wrap("get-directories", |mut store: StoreContextMut<'_, State>, ()| {
        store.data().tell_no_folders();
        Ok((preopens::Host::get_directories(&mut store.data_mut().filesystem())?,))
    })
}

/// What a guest gets, after the log has been told of what its grants do not allow.
fn told<T>(
    store: &StoreContextMut<'_, State>,
    what: &str,
    path: &str,
    done: Result<T, FsError>,
) -> wasmtime::Result<Result<T, ErrorCode>> {
    let error = match done {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error.downcast()?,
    };
    if matches!(error, ErrorCode::NotPermitted | ErrorCode::ReadOnly) {
        let denials = &store.data().environment.reach.denials;
        denials.note(Grant::Dirs, &format!("{what} '{path}' beyond what it may"));
    }
    Ok(Err(error))
}

impl State {
    /// Many languages ask for the folders whether the program uses files or not, so this is no warning.
    fn tell_no_folders(&self) {
        let reach = &self.environment.reach;
        if reach.files.is_empty() {
            tracing::debug!(
                service = &*self.environment.service,
                "it asks for folders and has none; 'dirs' in the section [grants] of its .toml gives some"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &Path, private: &[PathBuf]) -> Result<PathBuf, String> {
        let grant = DirGrant { host: host.to_owned(), guest: "/d".into(), write: true };
        real(&grant, private).map(|grant| grant.host)
    }

    #[test]
    fn a_folder_must_be_there_and_have_nothing_to_do_with_the_node() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        let make = |name: &str| {
            let dir = top.join(name);
            std::fs::create_dir_all(&dir).unwrap();
            dir
        };
        let (data, cache) = (make("data"), make("node/cache"));
        std::fs::write(top.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&cache, top.join("link")).unwrap();
        let private = [cache.clone(), top.join("not/yet")];
        assert_eq!(check(&data, &private), Ok(data));
        for (path, why) in [
            (top.join("none"), "make it"),
            (top.join("file"), "no folder"),
            (PathBuf::from("/"), "root"),
            (PathBuf::from("/proc/self"), "the system's own"),
            (cache, "the node itself uses"),
            (top.join("link"), "the node itself uses"),
            (top.join("node"), "the node itself uses"),
            (make("node/cache/below"), "the node itself uses"),
        ] {
            let error = check(&path, &private).unwrap_err();
            assert!(error.contains(why) && error.contains("'dirs'"), "{error}");
        }
    }
}
