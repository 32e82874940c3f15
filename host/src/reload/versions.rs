//! Versions of a service: going back to one of them, by hand or because the present one keeps trapping, and
//! going on after a start with what was in force before it.
//!
//! Each file's history is read from disk when the file is first looked at, and written when it has changed. What
//! cannot be written is told, and costs nothing else. A version that was taken out because it trapped is in
//! quarantine: it is tried again after a while that doubles each time. Not here: bringing a version into service
//! (`deploy`), what is kept (`history`, `shelf`).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Shared;
use super::deploy::Error;
use super::history::{Candidate, Code, Held, History, Version, short};
use super::shelf::{self, Shelf};
use crate::clock;
use crate::config::sidecar;
use crate::context::Outcome;
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::Traps;
use crate::task::{self, CancellationToken};

/// So many traps within [`TRAP_WINDOW`] take a version out of service, when there is an earlier one.
const TRAPS_MAX: usize = 5;
const TRAP_WINDOW: Duration = Duration::from_secs(60);

impl Shared {
    /// The versions of a service, the one that came into service last first.
    pub(super) fn versions(&self, service: &str) -> Outcome {
        let (path, digest) = self.in_service(service)?;
        let histories = self.histories.lock();
        let shown = histories.get(&path).map_or_else(|| json!([]), |one| one.shown(&digest));
        let value =
            json!({"service": service, "file": path.display().to_string(), "versions": shown});
        Payload::from_value(&value).map_err(|error| MoleculerError::internal(error.to_string()))
    }

    /// Puts an earlier version of a service into service: the one before, or the one whose digest begins as
    /// `wanted` says.
    pub(super) async fn roll_back(&self, service: &str, wanted: Option<&str>) -> Outcome {
        let (path, _) = self.in_service(service)?;
        let turn = self.turn(&path);
        let _turn = turn.lock().await;
        let (_, current) = self.in_service(service)?;
        let version =
            self.histories.lock().get(&path).and_then(|one| one.earlier(&current, wanted));
        let version = version.ok_or_else(|| {
            let what = wanted.map_or_else(
                || "there is no earlier one that is sound".to_owned(),
                |wanted| format!("none but the present one begins with '{wanted}'"),
            );
            let text = format!("Service '{service}' cannot go back to another version: {what}.");
            MoleculerError::client(404, "VERSION_NOT_FOUND", text)
        })?;
        let digest = version.digest.clone();
        self.go_back(&path, version, true)
            .await
            .map_err(|error| MoleculerError::server("ROLLBACK_FAILED", error.explained()))?;
        tracing::warn!(service, version = short(&digest), "rolled back");
        self.versions(service)
    }

    /// Puts an earlier version into service. `by_hand`: what the file holds stays out until the file changes.
    async fn go_back(&self, path: &Path, version: Version, by_hand: bool) -> Result<(), Error> {
        let digest = version.digest.clone();
        let candidate = match self.candidate(path, version).await {
            Ok(candidate) => candidate,
            Err(error) => {
                let lost = error.is_lost();
                if let Some(history) = self.histories.lock().get_mut(path).filter(|_| lost) {
                    history.drop_version(&digest);
                }
                return Err(error);
            }
        };
        let never = CancellationToken::new();
        Box::pin(self.switch(path, candidate, &never, clock::now())).await?;
        if let Some(history) = self.histories.lock().get_mut(path) {
            let in_file = history.in_file.clone();
            history.left = in_file.filter(|in_file| by_hand && *in_file != digest);
        }
        self.write_history(path).await;
        Ok(())
    }

    /// Makes a version ready to be put into service.
    async fn candidate(&self, path: &Path, version: Version) -> Result<Candidate, Error> {
        let Version { digest, code, sidecar, .. } = version;
        if let Code::Loaded(component, options) = code {
            return Ok(Candidate { component, options: *options, sidecar });
        }
        let shelf = self.shelf.clone().ok_or(Error::Forgotten)?;
        let file = path.to_owned();
        let bytes = tokio::task::spawn_blocking(move || shelf.component(&file, &digest)).await;
        let bytes = bytes.map_err(|_| Error::Forgotten)??;
        let component = self.runtime.load_bytes(bytes).await?;
        let text = sidecar.as_deref().unwrap_or_default();
        let options = sidecar::parse(&sidecar::path_of(path), text, self.broker.options());
        Ok(Candidate { component, options: options.map_err(Error::Options)?, sidecar })
    }

    /// Reads what is known of a file from before, when it is looked at for the first time.
    pub(super) async fn recall(&self, path: &Path) {
        if self.histories.lock().contains_key(path) {
            return;
        }
        let history = match self.shelf.clone() {
            None => History::default(),
            Some(shelf) => {
                let file = path.to_owned();
                let record = tokio::task::spawn_blocking(move || shelf.record(&file)).await;
                record.ok().flatten().map_or_else(History::default, History::recalled)
            }
        };
        self.histories.lock().entry(path.to_owned()).or_insert(history);
    }

    /// Keeps the bytes of a version that may come into service.
    pub(super) async fn keep(&self, path: &Path, digest: &str, bytes: Arc<Vec<u8>>) {
        let written =
            self.histories.lock().get(path).is_some_and(|history| history.is_written(digest));
        if written {
            return;
        }
        let (file, digest) = (path.to_owned(), digest.to_owned());
        self.on_shelf(path, move |shelf| shelf.keep(&file, &digest, &bytes)).await;
    }

    /// Writes what is known of a file, when it has changed.
    pub(super) async fn write_history(&self, path: &Path) {
        if self.shelf.is_none() {
            return;
        }
        let name = path.to_string_lossy().into_owned();
        let record =
            self.histories.lock().get_mut(path).and_then(|history| history.unwritten(name));
        let Some(record) = record else { return };
        let file = path.to_owned();
        let not_kept = self.on_shelf(path, move |shelf| shelf.write(&file, record)).await;
        if let Some(history) = self.histories.lock().get_mut(path) {
            match not_kept {
                Some(not_kept) => history.was_written(not_kept),
                None => history.not_written(),
            }
        }
    }

    /// As [`Shared::keep`] and [`Shared::write_history`], in a while: nobody waits for it.
    pub(super) fn write_later(&self, path: &Path, digest: String, bytes: Arc<Vec<u8>>) {
        if self.shelf.is_none() {
            return;
        }
        let (shared, path) = (self.this.clone(), path.to_owned());
        task::spawn("versions", &self.stop, async move {
            let Some(shared) = shared.upgrade() else { return };
            // Whoever goes back to another version meanwhile writes before or after this.
            let turn = shared.turn(&path);
            let _turn = turn.lock().await;
            shared.keep(&path, &digest, bytes).await;
            shared.write_history(&path).await;
        });
    }

    /// Forgets the versions of a file that is gone.
    pub(super) async fn forget(&self, path: &Path) {
        self.histories.lock().remove(path);
        let file = path.to_owned();
        self.on_shelf(path, move |shelf| shelf.forget(&file)).await;
    }

    /// Does something with the place where versions are kept. What fails there is told, and is no reason to fail.
    async fn on_shelf<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Shelf) -> Result<T, shelf::Error> + Send + 'static,
    ) -> Option<T> {
        let shelf = self.shelf.clone()?;
        let _turn = self.shelving.lock().await;
        match tokio::task::spawn_blocking(move || work(&shelf)).await.ok()? {
            Ok(done) => Some(done),
            Err(error) => {
                let file = path.display().to_string();
                let error = Error::from(error).explained();
                tracing::warn!(
                    file,
                    error,
                    "the versions of this file are known until the node stops, and not after that"
                );
                None
            }
        }
    }

    /// At a start: what the file holds was left, or is in quarantine, so the version that was in service instead
    /// comes back. Gives whether it did.
    pub(super) async fn stand_in(&self, path: &Path, digest: &str, held: Held) -> bool {
        let version = {
            let histories = self.histories.lock();
            let history = histories.get(path);
            match held {
                Held::No => None,
                Held::Left => history.and_then(History::last).filter(|one| one.digest != digest),
                Held::Quarantined(..) => history.and_then(|one| one.earlier(digest, None)),
            }
        };
        let Some(version) = version else { return false };
        let file = path.display().to_string();
        let (in_service, in_file) = (short(&version.digest).to_owned(), short(digest).to_owned());
        let by_hand = held == Held::Left;
        if let Err(error) = self.go_back(path, version, by_hand).await {
            let error = error.explained();
            tracing::error!(
                file,
                error,
                version = in_service,
                "the version that was in service before cannot be put into service again; what the file holds is"
            );
            return false;
        }
        match held {
            Held::Quarantined(rest, reason) => {
                tracing::warn!(file, in_service, in_file, reason, ?rest, "still in quarantine");
                self.show_error(path, &reason);
                self.look_again_after(path, rest);
            }
            _ => tracing::warn!(
                file,
                in_service,
                in_file,
                "somebody went back to another version than the file holds, and that one is in service again"
            ),
        }
        true
    }

    /// File and digest of a service.
    fn in_service(&self, service: &str) -> Result<(PathBuf, String), MoleculerError> {
        let deployed = self.deployed.lock();
        let found = deployed.iter().find(|(_, deployed)| *deployed.full_name == *service);
        let found = found.map(|(path, deployed)| (path.clone(), deployed.digest().to_owned()));
        found.ok_or_else(|| {
            let text = format!("No component of this node provides the service '{service}'.");
            MoleculerError::client(404, "SERVICE_NOT_FOUND", text)
        })
    }

    /// Watches over the traps of a version until it is out of service.
    pub(super) fn watch_traps(
        &self,
        path: &Path,
        digest: &str,
        traps: Arc<Traps>,
        ended: &CancellationToken,
    ) {
        let (shared, path, digest) = (self.this.clone(), path.to_owned(), digest.to_owned());
        task::spawn("crash watch", ended, async move {
            let mut recent = VecDeque::new();
            let mut seen = 0;
            loop {
                let total = traps.more_than(seen).await;
                let now = clock::now();
                let new = usize::try_from(total - seen).unwrap_or(usize::MAX).min(TRAPS_MAX);
                recent.extend(std::iter::repeat_n(now, new));
                seen = total;
                recent.retain(|at| now.saturating_duration_since(*at) <= TRAP_WINDOW);
                if recent.len() < TRAPS_MAX {
                    continue;
                }
                recent.clear();
                let Some(shared) = shared.upgrade() else { return };
                let (path, digest) = (path.clone(), digest.clone());
                // A task of its own: going back ends this one.
                task::spawn("put back", &CancellationToken::new(), async move {
                    shared.put_back(&path, &digest).await;
                });
            }
        });
    }

    /// Takes a version that keeps trapping out of service, when there is an earlier one.
    async fn put_back(&self, path: &Path, digest: &str) {
        let turn = self.turn(path);
        let _turn = turn.lock().await;
        let shown =
            self.deployed.lock().get(path).map(|one| (one.shown().0, one.digest().to_owned()));
        let Some((service, _)) = shown.filter(|(_, current)| current == digest) else { return };
        let file = path.display().to_string();
        let earlier = self.histories.lock().get(path).and_then(|one| one.earlier(digest, None));
        let Some(earlier) = earlier else {
            tracing::error!(
                service = &*service,
                file,
                version = short(digest),
                "this version keeps trapping, and there is no earlier one to go back to"
            );
            return;
        };
        let reason = format!(
            "version {} trapped {TRAPS_MAX} times within {} s",
            short(digest),
            TRAP_WINDOW.as_secs()
        );
        let back_to = short(&earlier.digest).to_owned();
        let pause = {
            let mut histories = self.histories.lock();
            let history = histories.entry(path.to_owned()).or_default();
            history.quarantine(digest, &reason)
        };
        if let Err(error) = self.go_back(path, earlier, false).await {
            tracing::error!(
                service = &*service,
                file,
                reason,
                error = error.explained(),
                "the earlier version cannot be put into service again"
            );
            return;
        }
        self.rolled_back.increment();
        tracing::error!(
            service = &*service,
            file,
            reason,
            back_to,
            ?pause,
            "this version keeps trapping; the earlier one is in service again, and it is tried again later"
        );
        self.show_error(path, &reason);
        let data = json!({"file": file, "service": &*service, "version": short(digest),
            "inService": back_to, "reason": reason, "retryAfter": pause.as_millis()});
        self.broker.tell_services("$service.quarantined", &data);
        self.look_again_after(path, pause);
    }

    /// Asks for another look at a file after a while.
    fn look_again_after(&self, path: &Path, pause: Duration) {
        let (wake, path) = (self.wake.clone(), path.to_owned());
        task::spawn("quarantine", &self.stop, async move {
            tokio::time::sleep(pause).await;
            // Nobody looks any more when the node does not follow its files.
            let _ = wake.send(path).await;
        });
    }
}
