//! The versions of a service that this node has had in service: going back to one of them, by hand or because
//! the present one keeps trapping.
//!
//! Versions are kept in memory, compiled, a few of each file. At a start the node loads what its folder holds:
//! a rollback lasts as long as the node runs and the file stays as it is. A version that was taken out because
//! it trapped is in quarantine: it is tried again after a while that doubles each time. Not here: bringing a
//! version into service (`deploy`).

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Shared;
use super::deploy::Error;
use crate::clock::{self, Instant};
use crate::config::ServiceOptions;
use crate::context::Outcome;
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::{Component, Traps};
use crate::task::{self, CancellationToken};

/// Versions of a file that are kept, the present one included.
const VERSIONS_MAX: usize = 5;

/// So many traps within [`TRAP_WINDOW`] take a version out of service, when there is an earlier one.
const TRAPS_MAX: usize = 5;
const TRAP_WINDOW: Duration = Duration::from_secs(60);

/// How long a version stays in quarantine at first, and at most.
const QUARANTINE_MIN: Duration = Duration::from_secs(60);
const QUARANTINE_MAX: Duration = Duration::from_secs(3_600);

/// Characters of a digest that a person needs.
const DIGEST_SHOWN: usize = 12;

/// What a file has held.
#[derive(Default)]
pub(super) struct History {
    /// The one that came into service last is at the end.
    versions: Vec<Version>,
    /// Digest of what the file holds.
    pub(super) in_file: Option<String>,
    /// What the file holds and shall not be put into service, because somebody went back to another version.
    left: Option<String>,
    quarantine: BTreeMap<String, Quarantine>,
}

/// A version that was in service.
#[derive(Clone)]
struct Version {
    component: Component,
    options: ServiceOptions,
    digest: String,
    /// When it came into service the last time.
    since: String,
}

/// Why a version is not put into service.
struct Quarantine {
    until: Instant,
    pause: Duration,
    reason: String,
}

/// Whether a version may be put into service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It may.
    No,
    /// Somebody went back to another one.
    Left,
    /// It is in quarantine.
    Quarantined,
}

impl History {
    /// Notes what came into service.
    pub(super) fn note(&mut self, component: Component, options: ServiceOptions) {
        let digest = component.inspection().sha256.clone();
        self.versions.retain(|version| version.digest != digest);
        let since = clock::iso_8601(clock::unix_ms());
        self.versions.push(Version { component, options, digest, since });
        if self.versions.len() > VERSIONS_MAX {
            self.versions.remove(0);
        }
        // What is over by now may be forgotten, but for how often it came.
        let kept: Vec<&String> = self.versions.iter().map(|version| &version.digest).collect();
        let now = clock::now();
        self.quarantine.retain(|digest, held| held.until > now || kept.contains(&digest));
    }

    /// Whether what the file holds may be put into service.
    pub(super) fn held(&mut self, digest: &str) -> Held {
        if self.left.as_deref() == Some(digest) {
            return Held::Left;
        }
        // The file holds something else now.
        self.left = None;
        match self.quarantine.get(digest) {
            Some(held) if held.until > clock::now() => Held::Quarantined,
            _ => Held::No,
        }
    }

    /// The version to go back to: the one whose digest begins so, else the last one before `current`.
    fn earlier(&self, current: &str, wanted: Option<&str>) -> Option<Version> {
        let mut others = self.versions.iter().rev().filter(|version| version.digest != current);
        let now = clock::now();
        let sound = |digest: &str| self.quarantine.get(digest).is_none_or(|held| held.until <= now);
        match wanted {
            Some(wanted) => others.find(|version| version.digest.starts_with(wanted)),
            None => others.find(|version| sound(&version.digest)),
        }
        .cloned()
    }

    /// Puts a version into quarantine, for longer each time, and says for how long.
    fn quarantine(&mut self, digest: &str, reason: &str) -> Duration {
        let last = self.quarantine.get(digest).map(|held| held.pause);
        let pause = last.map_or(QUARANTINE_MIN, |last| QUARANTINE_MAX.min(last * 2));
        let held = Quarantine { until: clock::now() + pause, pause, reason: reason.to_owned() };
        self.quarantine.insert(digest.to_owned(), held);
        pause
    }

    fn shown(&self, current: &str) -> Value {
        let now = clock::now();
        let row = |version: &Version| {
            let held = self.quarantine.get(&version.digest).filter(|held| held.until > now);
            let in_service = version.digest == current;
            let state = match held {
                _ if in_service => "in service",
                Some(_) => "quarantined",
                None => "earlier",
            };
            json!({
                "version": short(&version.digest),
                "digest": version.digest,
                "state": state,
                "since": version.since,
                "size": version.component.inspection().size,
                "reason": held.map(|held| held.reason.as_str()),
            })
        };
        self.versions.iter().rev().map(row).collect()
    }
}

/// The beginning of a digest.
fn short(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

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
        self.go_back(&path, version)
            .await
            .map_err(|error| MoleculerError::server("ROLLBACK_FAILED", error.explained()))?;
        tracing::warn!(service, version = short(&digest), "rolled back");
        self.versions(service)
    }

    /// Puts an earlier version into service. What the file holds stays out until the file changes.
    async fn go_back(&self, path: &Path, version: Version) -> Result<(), Error> {
        let Version { component, options, digest, .. } = version;
        let never = CancellationToken::new();
        Box::pin(self.switch(path, component, options, &never, clock::now())).await?;
        let mut histories = self.histories.lock();
        let history = histories.entry(path.to_owned()).or_default();
        let in_file = history.in_file.clone().filter(|in_file| *in_file != digest);
        history.left = in_file;
        Ok(())
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
        if let Err(error) = self.go_back(path, earlier).await {
            tracing::error!(
                service = &*service,
                file,
                reason,
                error = error.explained(),
                "the earlier version cannot be put into service again"
            );
            return;
        }
        if let Some(history) = self.histories.lock().get_mut(path) {
            // The quarantine says when it is tried again; nobody went back by hand.
            history.left = None;
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
