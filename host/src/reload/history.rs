//! What one file has held: the versions that one can go back to, and those that may not be put into service.
//!
//! Versions of this run of the node are kept compiled; those from before lie on disk (`shelf`) until somebody goes
//! back to one of them. Not here: doing it (`versions`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::shelf::{Entry, Record, Sentence};
use crate::clock::{self, Instant};
use crate::config::ServiceOptions;
use crate::runtime::Component;

/// Versions of a file that are kept, the present one included.
pub(super) const VERSIONS_MAX: usize = 5;

/// How long a version stays in quarantine at first, and at most.
const QUARANTINE_MIN: Duration = Duration::from_secs(60);
const QUARANTINE_MAX: Duration = Duration::from_secs(3_600);

/// Two times that are no further apart are one that was read from two clocks.
const CLOCKS_APART_MS: u64 = 5_000;

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
    pub(super) left: Option<String>,
    quarantine: BTreeMap<String, Quarantine>,
    /// What is on disk, as far as this node knows.
    written: Option<Record>,
    /// Versions of it whose code could not be kept.
    not_kept: Vec<String>,
}

/// A version that was in service.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) digest: String,
    pub(super) code: Code,
    /// The text of the `NAME.toml` that it ran with.
    pub(super) sidecar: Option<String>,
    /// When it came into service the last time, after another one.
    since: String,
    size: usize,
}

/// Where the code of a version is.
#[derive(Clone)]
pub(super) enum Code {
    /// Here, with what `NAME.toml` said.
    Loaded(Component, Box<ServiceOptions>),
    /// On disk, from before the node started.
    OnDisk,
}

/// What can be put into service.
pub(super) struct Candidate {
    pub(super) component: Component,
    pub(super) options: ServiceOptions,
    /// The text that the options were read from.
    pub(super) sidecar: Option<String>,
}

impl Candidate {
    /// Digest of the component.
    pub(super) fn digest(&self) -> &str {
        &self.component.inspection().sha256
    }
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
    /// It is in quarantine, for so long yet, for this reason.
    Quarantined(Duration, String),
}

impl History {
    /// As it was when the node ran the last time.
    pub(super) fn recalled(record: Record) -> Self {
        let (now, unix_ms) = (clock::now(), clock::unix_ms());
        let quarantine = record.quarantine.iter().map(|(digest, held)| {
            // The wall clock may have been set since: no quarantine becomes longer by that.
            let pause = Duration::from_millis(held.pause).min(QUARANTINE_MAX);
            let rest = Duration::from_millis(held.until.saturating_sub(unix_ms)).min(pause);
            let held = Quarantine { until: now + rest, pause, reason: held.reason.clone() };
            (digest.clone(), held)
        });
        let versions = record.versions.iter().map(|entry| Version {
            digest: entry.digest.clone(),
            code: Code::OnDisk,
            sidecar: entry.sidecar.clone(),
            since: entry.since.clone(),
            size: entry.size,
        });
        Self {
            versions: versions.collect(),
            in_file: None,
            left: record.left.clone(),
            quarantine: quarantine.collect(),
            written: Some(record),
            not_kept: Vec::new(),
        }
    }

    /// What is to be written, when it differs from what was.
    pub(super) fn unwritten(&mut self, file: String) -> Option<Record> {
        let (now, unix_ms) = (clock::now(), clock::unix_ms());
        let written = self.written.as_ref();
        let sentence = |(digest, held): (&String, &Quarantine)| {
            let rest = held.until.saturating_duration_since(now).as_millis();
            let until = unix_ms.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
            let pause = u64::try_from(held.pause.as_millis()).unwrap_or(u64::MAX);
            let reason = held.reason.clone();
            // The two clocks are never quite together; what was written once stays.
            let before = written.and_then(|record| record.quarantine.get(digest));
            let same = |before: &&Sentence| {
                before.pause == pause && before.until.abs_diff(until) < CLOCKS_APART_MS
            };
            let before = before.filter(same);
            let sentence = Sentence { until, pause, reason };
            (digest.clone(), before.cloned().unwrap_or(sentence))
        };
        let record = Record {
            file,
            versions: self.versions.iter().map(Version::entry).collect(),
            left: self.left.clone(),
            quarantine: self.quarantine.iter().map(sentence).collect(),
        };
        if self.written.as_ref() == Some(&record) {
            return None;
        }
        self.written = Some(record.clone());
        Some(record)
    }

    /// What was to be written has been, but for the code of some versions.
    pub(super) fn was_written(&mut self, not_kept: Vec<String>) {
        self.not_kept = not_kept;
    }

    /// What was to be written could not be: it is tried again with the next change.
    pub(super) fn not_written(&mut self) {
        self.written = None;
    }

    /// Whether a version has been written to disk.
    pub(super) fn is_written(&self, digest: &str) -> bool {
        let mut entries = self.written.iter().flat_map(|record| &record.versions);
        entries.any(|entry| entry.digest == digest)
            && !self.not_kept.iter().any(|not_kept| not_kept == digest)
    }

    /// Notes what came into service.
    pub(super) fn note(&mut self, candidate: Candidate) {
        let Candidate { component, options, sidecar } = candidate;
        let digest = component.inspection().sha256.clone();
        let last = self.versions.last().filter(|last| last.digest == digest);
        // A node that starts anew goes on with what it had.
        let since =
            last.map_or_else(|| clock::iso_8601(clock::unix_ms()), |last| last.since.clone());
        self.versions.retain(|version| version.digest != digest);
        let size = component.inspection().size;
        let code = Code::Loaded(component, Box::new(options));
        self.versions.push(Version { digest, code, sidecar, since, size });
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
        let now = clock::now();
        match self.quarantine.get(digest).filter(|held| held.until > now) {
            Some(held) => Held::Quarantined(held.until - now, held.reason.clone()),
            None => Held::No,
        }
    }

    /// The version to go back to: the one whose digest begins so, else the last one before `current`.
    pub(super) fn earlier(&self, current: &str, wanted: Option<&str>) -> Option<Version> {
        let mut others = self.versions.iter().rev().filter(|version| version.digest != current);
        let now = clock::now();
        let sound = |digest: &str| self.quarantine.get(digest).is_none_or(|held| held.until <= now);
        match wanted {
            Some(wanted) => others.find(|version| version.digest.starts_with(wanted)),
            None => others.find(|version| sound(&version.digest)),
        }
        .cloned()
    }

    /// The version that was in service when the node ran the last time.
    pub(super) fn last(&self) -> Option<Version> {
        self.versions.last().cloned()
    }

    /// Forgets a version that cannot be had any more.
    pub(super) fn drop_version(&mut self, digest: &str) {
        self.versions.retain(|version| version.digest != digest);
    }

    /// Puts a version into quarantine, for longer each time, and says for how long.
    pub(super) fn quarantine(&mut self, digest: &str, reason: &str) -> Duration {
        let last = self.quarantine.get(digest).map(|held| held.pause);
        let pause = last.map_or(QUARANTINE_MIN, |last| QUARANTINE_MAX.min(last * 2));
        let held = Quarantine { until: clock::now() + pause, pause, reason: reason.to_owned() };
        self.quarantine.insert(digest.to_owned(), held);
        pause
    }

    /// For people and programs: the version that came into service last is the first.
    pub(super) fn shown(&self, current: &str) -> Value {
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
                "size": version.size,
                "reason": held.map(|held| held.reason.as_str()),
                "onDisk": self.is_written(&version.digest),
            })
        };
        self.versions.iter().rev().map(row).collect()
    }
}

impl Version {
    fn entry(&self) -> Entry {
        Entry {
            digest: self.digest.clone(),
            since: self.since.clone(),
            size: self.size,
            sidecar: self.sidecar.clone(),
        }
    }
}

/// The beginning of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str) -> Entry {
        Entry { digest: digest.into(), since: "2026".into(), size: 1, sidecar: None }
    }

    /// Two versions, the second in quarantine until some milliseconds from now.
    fn record(rest: u64, pause: u64) -> Record {
        let until = clock::unix_ms() + rest;
        let sentence = Sentence { until, pause, reason: "it trapped".into() };
        Record {
            file: "/a.wasm".into(),
            versions: vec![entry("one"), entry("two")],
            left: None,
            quarantine: BTreeMap::from([("two".into(), sentence)]),
        }
    }

    fn rest(history: &mut History, digest: &str) -> Duration {
        match history.held(digest) {
            Held::Quarantined(rest, reason) => {
                assert_eq!(reason, "it trapped");
                rest
            }
            held => panic!("{held:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quarantine_goes_on_where_it_was_and_no_longer_than_it_was_made_for() {
        let mut history = History::recalled(record(40_000, 60_000));
        let left = rest(&mut history, "two");
        assert!((39..=40).contains(&left.as_secs()), "{left:?}");
        assert_eq!(history.earlier("two", None).unwrap().digest, "one");
        // The next one is twice as long as the last.
        assert_eq!(history.quarantine("two", "again"), Duration::from_secs(120));
        // A clock that was set back does not make it longer, nor does a record that somebody wrote.
        let mut history = History::recalled(record(90_000_000, 60_000));
        assert_eq!(rest(&mut history, "two"), Duration::from_secs(60));
        let mut history = History::recalled(record(u64::MAX / 2, u64::MAX));
        assert_eq!(rest(&mut history, "two"), QUARANTINE_MAX);
        tokio::time::advance(QUARANTINE_MAX).await;
        assert_eq!(history.held("two"), Held::No);
        assert_eq!(History::recalled(record(0, 60_000)).held("two"), Held::No);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_changed_is_written() {
        let mut history = History::recalled(record(40_000, 60_000));
        assert_eq!(history.unwritten("/a.wasm".into()), None);
        assert!(history.is_written("one") && !history.is_written("three"));
        history.left = Some("two".into());
        let written = history.unwritten("/a.wasm".into()).unwrap();
        assert_eq!(written.left.as_deref(), Some("two"));
        assert_eq!(history.unwritten("/a.wasm".into()), None);
        history.was_written(vec!["one".into()]);
        assert!(!history.is_written("one"), "its code could not be kept");
        // What could not be written is written with the next change, or when it is tried again.
        history.not_written();
        assert!(history.unwritten("/a.wasm".into()).is_some());
        history.drop_version("one");
        assert_eq!(history.unwritten("/a.wasm".into()).unwrap().versions.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_is_held_until_the_file_holds_something_else() {
        let mut history = History::recalled(Record { left: Some("two".into()), ..record(0, 1) });
        assert_eq!(history.last().unwrap().digest, "two");
        assert_eq!(history.held("two"), Held::Left);
        assert_eq!(history.held("three"), Held::No);
        assert_eq!(history.held("two"), Held::No);
    }
}
