//! The middlewares `ActionLogger` and `TransitLogger`: calls of this node, and packets, as lines of the log
//! and as files (moleculer: src/middlewares/debugging).
//!
//! They are for people who look for a fault. Files are written beside the work and never hold it up: what
//! comes faster than it can be written is left out, and so is what comes after [`FILES_MAX`] files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::clock;
use crate::config::debugging::{ActionLog, Destination, Level, TransitLog};
use crate::context::Outcome;
use crate::middleware::Middleware;
use crate::middleware::hook::Call;
use crate::packet::Packet;
use crate::payload::Payload;
use crate::schema;
use crate::serializer::{Json, Serializer as _};
use crate::task::{self, CancellationToken};
use crate::transit::{HandleMessage, Publish};

/// Files that are written at once.
const WRITES_MAX: usize = 64;

/// Files that a node writes as long as it runs.
const FILES_MAX: usize = 100_000;

/// Letters of a name in the name of a file.
const NAME_LEN_MAX: usize = 100;

/// Tells of every call that is made on this node.
pub struct ActionLogger {
    options: Arc<ActionLog>,
    notes: Notes,
}

impl ActionLogger {
    /// For a node with this ID.
    #[must_use]
    pub fn new(options: ActionLog, node_id: &str) -> Self {
        let notes = Notes::new(&options.to, node_id);
        Self { options: Arc::new(options), notes }
    }
}

impl Middleware for ActionLogger {
    fn call(&self, next: Call) -> Call {
        let (options, notes) = (Arc::clone(&self.options), self.notes.clone());
        Arc::new(move |action, params, call_options| {
            if !options.whitelist.iter().any(|pattern| schema::matches(pattern, &action)) {
                return next(action, params, call_options);
            }
            let shown = options.params.then(|| shown(&params));
            notes.line(&format!("Calling '{action}'"), shown.as_deref());
            if let Some(params) = shown {
                notes.file(&["call", &action, "request"], params);
            }
            if let Some(meta) = call_options.meta.as_ref().filter(|_| options.meta) {
                notes.line("Meta:", Some(meta.as_str()));
                notes.file(&["call", &action, "meta"], meta.as_str().to_owned());
            }
            let work = next(Arc::clone(&action), params, call_options);
            let (options, notes) = (Arc::clone(&options), notes.clone());
            Box::pin(async move {
                let outcome = work.await;
                answered(&options, &notes, &action, &outcome);
                outcome
            })
        })
    }
}

fn answered(options: &ActionLog, notes: &Notes, action: &str, outcome: &Outcome) {
    match outcome {
        Ok(result) => {
            let shown = options.response.then(|| shown(result));
            notes.line(&format!("Response for '{action}' is received"), shown.as_deref());
            if let Some(result) = shown {
                notes.file(&["call", action, "response"], result);
            }
        }
        Err(error) => {
            let text = error.to_wire("").to_string();
            notes.line(&format!("Error for '{action}' is received"), Some(&text));
            if options.response {
                notes.file(&["call", action, "error"], text);
            }
        }
    }
}

fn shown(payload: &Payload) -> String {
    match payload {
        Payload::Absent => "<undefined>".into(),
        Payload::Stream(_) => "<stream>".into(),
        Payload::Json(_) | Payload::Bytes(_) => payload.to_json_text().to_string(),
    }
}

/// Tells of every packet that goes out or comes in.
pub struct TransitLogger {
    options: Arc<TransitLog>,
    notes: Notes,
}

impl TransitLogger {
    /// For a node with this ID.
    #[must_use]
    pub fn new(options: TransitLog, node_id: &str) -> Self {
        let notes = Notes::new(&options.to, node_id);
        Self { options: Arc::new(options), notes }
    }
}

impl TransitLog {
    fn passes_over(&self, packet: &Packet) -> bool {
        let kind = packet.body.kind().as_str();
        self.packet_filter.iter().any(|filtered| filtered == kind)
    }
}

impl Middleware for TransitLogger {
    fn transit_publish(&self, next: Publish) -> Publish {
        let (options, notes) = (Arc::clone(&self.options), self.notes.clone());
        Arc::new(move |packet, target| {
            if !options.passes_over(&packet) {
                let kind = packet.body.kind().as_str();
                let to = target.as_deref().unwrap_or("<all nodes>");
                let data = data(&packet, &options);
                let line = format!("=> Send {kind} packet to '{to}'");
                notes.line(&line, data.as_deref().filter(|_| options.packet_data));
                if let Some(data) = data {
                    notes.file(&["send", kind, "to", target.as_deref().unwrap_or("all")], data);
                }
            }
            next(packet, target)
        })
    }

    fn transit_message_handler(&self, next: HandleMessage) -> HandleMessage {
        let (options, notes) = (Arc::clone(&self.options), self.notes.clone());
        Arc::new(move |packet| {
            if !options.passes_over(&packet) {
                let kind = packet.body.kind().as_str();
                let data = data(&packet, &options);
                let line = format!("<= Receive {kind} packet from '{}'", packet.sender);
                notes.line(&line, data.as_deref().filter(|_| options.packet_data));
                if let Some(data) = data {
                    notes.file(&["receive", kind, "from", &packet.sender], data);
                }
            }
            next(packet);
        })
    }
}

/// What is in a packet, when somebody wants to know.
fn data(packet: &Packet, options: &TransitLog) -> Option<String> {
    let wanted = options.packet_data || options.to.folder.is_some();
    wanted.then(|| String::from_utf8_lossy(&Json.encode(packet)).into_owned())
}

/// Where notes go.
#[derive(Clone)]
struct Notes {
    level: Option<Level>,
    folder: Option<Arc<Folder>>,
}

/// A folder and how many files were written to it.
struct Folder {
    path: PathBuf,
    extension: String,
    writing: Arc<Semaphore>,
    n_files: AtomicUsize,
}

impl Notes {
    fn new(to: &Destination, node_id: &str) -> Self {
        let folder = to.folder.as_ref().map(|folder| {
            Arc::new(Folder {
                path: folder.join(fit(node_id)),
                extension: to.extension.clone(),
                writing: Arc::new(Semaphore::new(WRITES_MAX)),
                n_files: AtomicUsize::new(0),
            })
        });
        Self { level: to.level, folder }
    }

    fn line(&self, text: &str, data: Option<&str>) {
        let Some(level) = self.level else { return };
        let text = data.map_or_else(|| format!("{text}."), |data| format!("{text}: {data}"));
        match level {
            Level::Error => tracing::error!("{text}"),
            Level::Warn => tracing::warn!("{text}"),
            Level::Info => tracing::info!("{text}"),
            Level::Debug => tracing::debug!("{text}"),
            Level::Trace => tracing::trace!("{text}"),
        }
    }

    /// Writes a file whose name begins with the time and a number, so that they stand in their order.
    fn file(&self, name: &[&str], text: String) {
        let Some(folder) = &self.folder else { return };
        let Ok(permit) = Arc::clone(&folder.writing).try_acquire_owned() else {
            tracing::debug!("a file was left out: too many are being written");
            return;
        };
        let number = folder.n_files.fetch_add(1, Ordering::Relaxed);
        if number >= FILES_MAX {
            if number == FILES_MAX {
                tracing::warn!(
                    "{FILES_MAX} files were written to {}: no more",
                    folder.path.display()
                );
            }
            return;
        }
        let name: Vec<_> = name.iter().map(|part| fit(part)).collect();
        let (time, name) = (clock::unix_ms(), name.join("-"));
        let file = folder.path.join(format!("{time}-{number:06}-{name}{}", folder.extension));
        let path = folder.path.clone();
        task::spawn("debugging file", &CancellationToken::new(), async move {
            let written = match tokio::fs::create_dir_all(&path).await {
                Ok(()) => tokio::fs::write(&file, text).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                tracing::warn!(%error, "cannot write {}", file.display());
            }
            drop(permit);
        });
    }
}

/// A name as a part of a file's: others choose it, so it must not lead anywhere.
fn fit(name: &str) -> String {
    let fits = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-$".contains(letter) { letter } else { '_' }
    };
    let name: String = name.chars().take(NAME_LEN_MAX).map(fits).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_lead_nowhere() {
        assert_eq!(fit("v1.posts.list"), "v1.posts.list");
        assert_eq!(fit("../../etc/passwd"), "_.._.._etc_passwd");
        assert_eq!(fit(&"x".repeat(500)).len(), NAME_LEN_MAX);
    }
}
