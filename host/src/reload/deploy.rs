//! Bringing one file into service, step by step; a step that fails leaves everything as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Shared;
use super::history::{Candidate, Held};
use super::{shelf, wants};
use crate::clock;
use crate::config::problem::Problems;
use crate::config::{ServiceOptions, sidecar};
use crate::error::MoleculerError;
use crate::runtime::{self, Component, Kind};
use crate::schema::{self, Bounds, ServiceSchema};
use crate::service;
use crate::task::{CancellationToken, DropGuard};

/// Why a file cannot be put into service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component cannot be loaded.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// It is a middleware.
    #[error(
        "it is a middleware, not a service; put it into the folder of middlewares and name it in the \
         option 'middlewares'"
    )]
    Middleware,
    /// It does not tell its schema.
    #[error("it does not describe itself: {0}")]
    Describe(#[source] MoleculerError),
    /// What it declares is wrong.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// Its `NAME.toml` is wrong.
    #[error("{0}")]
    Options(Problems),
    /// Another file provides the same service.
    #[error(
        "service '{service}' is already provided by {file}; remove one of them, or give it a version"
    )]
    Taken {
        /// Full name.
        service: String,
        /// The other file.
        file: PathBuf,
    },
    /// Its `started` failed, or a dependency did not come in time.
    #[error("it does not start: {0}")]
    Start(#[source] MoleculerError),
    /// An earlier version is not on disk any more.
    #[error(transparent)]
    Shelf(#[from] shelf::Error),
    /// Nothing keeps versions on disk.
    #[error("the version is not known any more")]
    Forgotten,
    /// The file changed while this version was waiting for its dependencies.
    #[error("the file has changed meanwhile")]
    Superseded,
}

impl Error {
    /// Whether the file may become usable by itself because somebody is writing it.
    pub(super) fn may_be_half_written(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.may_be_half_written())
    }

    /// Whether something around the node is to blame, which may pass while the file stays as it is.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.may_pass())
    }

    /// Whether a kept version cannot be had any more.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Forgotten => true,
            Self::Shelf(error) => error.is_lost(),
            _ => false,
        }
    }

    /// The error with its causes, in one line.
    pub(super) fn explained(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}

/// A file that is in service.
pub(super) struct Deployed {
    pub(super) full_name: Arc<str>,
    digest: String,
    options: ServiceOptions,
    origin: Value,
    /// What it could want and is not granted.
    ungranted: Vec<&'static str>,
    /// Ends the watch over its traps.
    _ended: DropGuard,
}

impl Deployed {
    /// Digest of the version.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Full name, and what it may do and could want beyond.
    pub(super) fn grants(&self) -> Value {
        json!({"service": &*self.full_name, "grants": self.options.grants.to_json(),
            "lines": self.options.grants.to_lines(), "env": self.options.env.keys().collect::<Vec<_>>(),
            "notGranted": self.ungranted})
    }

    /// Full name and what `$node.services` shows.
    pub(super) fn shown(&self) -> (Arc<str>, Value) {
        (Arc::clone(&self.full_name), self.origin.clone())
    }
}

impl Shared {
    /// Puts the content of a file into service, in the place of what the file held before.
    pub(super) async fn deploy(
        &self,
        path: &Path,
        superseded: &CancellationToken,
    ) -> Result<(), Error> {
        let turn = self.turn(path);
        let _turn = turn.lock().await;
        let start = clock::now();
        let (options, sidecar) = self.options_beside(path)?;
        let (component, bytes) = self.runtime.load_with_bytes(path).await?;
        if component.kind() == Kind::Middleware {
            return Err(Error::Middleware);
        }
        let candidate = Candidate { component, options, sidecar };
        if self.is_deployed(path, candidate.digest(), &candidate.options) {
            self.forget_error(path);
            return Ok(());
        }
        self.recall(path).await;
        match self.held(path, candidate.digest()) {
            Held::No => {}
            // The version that is in service instead stays there.
            _ if self.deployed.lock().contains_key(path) => return Ok(()),
            held => {
                let stand_in = Box::pin(self.stand_in(path, candidate.digest(), held));
                if stand_in.await {
                    return Ok(());
                }
            }
        }
        let digest = candidate.digest().to_owned();
        if self.deployed.lock().contains_key(path) {
            self.keep(path, &digest, bytes).await;
            Box::pin(self.switch(path, candidate, superseded, start)).await?;
            self.write_history(path).await;
        } else {
            // There is nothing to go back to yet, so the start of a node does not wait for it.
            Box::pin(self.switch(path, candidate, superseded, start)).await?;
            self.write_later(path, digest, bytes);
        }
        Ok(())
    }

    /// Whether what a file holds may be put into service; notes what it holds.
    fn held(&self, path: &Path, digest: &str) -> Held {
        let mut histories = self.histories.lock();
        let history = histories.entry(path.to_owned()).or_default();
        history.in_file = Some(digest.to_owned());
        history.held(digest)
    }

    /// Puts a version into service, in the place of the one that is there. Whoever calls has the turn.
    pub(super) async fn switch(
        &self,
        path: &Path,
        candidate: Candidate,
        superseded: &CancellationToken,
        start: clock::Instant,
    ) -> Result<(), Error> {
        let Candidate { component, options, sidecar } = candidate;
        let schema = self.describe(&component, &options).await?;
        let claim = self.claim(path, &schema.full_name)?;
        let ready = self.broker.wait_for_dependencies(&schema);
        let ready = superseded.run_until_cancelled(ready).await.ok_or(Error::Superseded)?;
        ready.map_err(Error::Start)?;
        let full_name = Arc::clone(&schema.full_name);
        let origin = origin(path, &component, &schema);
        let digest = component.inspection().sha256.clone();
        let ungranted = wants::ungranted(component.inspection(), &options.grants);
        let (caller, cacher) = (self.broker.caller(), self.broker.cacher().cloned());
        let kept = component.clone();
        let (mut service, traps) =
            service::component::watched(&self.runtime, component, schema, &options, caller, cacher);
        service.origin = Some(origin.clone());
        self.broker.add_service(service).await.map_err(Error::Start)?;
        claim.keep();
        let ended = CancellationToken::new();
        self.watch_traps(path, &digest, traps, &ended);
        let kept = Candidate { component: kept, options: options.clone(), sidecar };
        self.histories.lock().entry(path.to_owned()).or_default().note(kept);
        let ended = ended.drop_guard();
        let deployed = Deployed {
            full_name: Arc::clone(&full_name),
            digest,
            options,
            origin,
            ungranted: ungranted.clone(),
            _ended: ended,
        };
        let before = self.deployed.lock().insert(path.to_owned(), deployed);
        let wanted_before = before.as_ref().map(|before| before.ungranted.as_slice());
        wants::report(&full_name, &ungranted, wanted_before);
        self.settle(path, &full_name, before, start).await;
        Ok(())
    }

    fn options_beside(&self, path: &Path) -> Result<(ServiceOptions, Option<String>), Error> {
        sidecar::read_with_text(path, self.broker.options()).map_err(Error::Options)
    }

    fn is_deployed(&self, path: &Path, digest: &str, options: &ServiceOptions) -> bool {
        let deployed = self.deployed.lock();
        deployed.get(path).is_some_and(|old| old.digest == digest && old.options == *options)
    }

    /// The file again holds what is in service, so an error that was shown is over.
    fn forget_error(&self, path: &Path) {
        let shown = self.deployed.lock().get(path).map(Deployed::shown);
        if let Some((full_name, origin)) = shown {
            self.broker.set_service_origin(&full_name, origin);
        }
    }

    async fn describe(
        &self,
        component: &Component,
        options: &ServiceOptions,
    ) -> Result<ServiceSchema, Error> {
        let text = component.describe(&options.limits).await.map_err(Error::Describe)?;
        let bounds = Bounds {
            len: options.limits.schema,
            items: options.limits.schema_items,
            internal: false,
        };
        let mut schema = ServiceSchema::read(&text, &options.settings, bounds)?;
        service::heard::keep(&mut schema, &options.grants);
        Ok(schema)
    }

    /// Takes the name of a service for a file, so that two files cannot bring the same one.
    fn claim(&self, path: &Path, full_name: &Arc<str>) -> Result<Claim<'_>, Error> {
        let mut names = self.names.lock();
        match names.get(full_name) {
            Some(file) if file != path => {
                Err(Error::Taken { service: full_name.to_string(), file: file.clone() })
            }
            Some(_) => Ok(Claim { shared: self, full_name: None }),
            None => {
                names.insert(Arc::clone(full_name), path.to_owned());
                Ok(Claim { shared: self, full_name: Some(Arc::clone(full_name)) })
            }
        }
    }

    /// The last steps, after the switch: a file that now holds another service no longer offers the old one.
    async fn settle(
        &self,
        path: &Path,
        full_name: &Arc<str>,
        before: Option<Deployed>,
        start: clock::Instant,
    ) {
        let replaced = before.is_some();
        let took = start.elapsed();
        let file = path.display().to_string();
        let done = if replaced { "replaced" } else { "started" };
        tracing::info!(service = &**full_name, file, ?took, "service {done}");
        let data = json!({"file": file, "service": &**full_name, "replaced": replaced});
        self.broker.tell_services("$service.loaded", &data);
        if let Some(before) = before
            && before.full_name != *full_name
        {
            self.broker.remove_service(&before.full_name).await;
            self.names.lock().remove(&before.full_name);
        }
    }
}

/// A name that was free before; given back unless it is kept.
struct Claim<'a> {
    shared: &'a Shared,
    full_name: Option<Arc<str>>,
}

impl Claim<'_> {
    fn keep(mut self) {
        self.full_name = None;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(full_name) = &self.full_name {
            self.shared.names.lock().remove(full_name);
        }
    }
}

/// What `$node.services` of this node shows beside the schema.
fn origin(path: &Path, component: &Component, schema: &ServiceSchema) -> Value {
    json!({
        "file": path.display().to_string(),
        "digest": component.inspection().sha256,
        "size": component.inspection().size,
        "language": component.inspection().language,
        "since": clock::iso_8601(clock::unix_ms()),
        "actions": schema.actions.len(),
        "events": schema.events.len(),
        "lastError": null,
    })
}
