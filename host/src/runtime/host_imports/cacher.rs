//! The interface `cacher`: values that a guest keeps in the cacher of the node.

use std::time::Duration;

use crate::cacher::{Answer, Cacher, Entry, Error};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::bindings::isomer::service::cacher::Host;
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::failure::{check_len, failure_from, payload_from_guest, payload_to_result};
use crate::runtime::state::State;
use crate::task;

/// A result for the guest; the outer one is a trap.
type Answered<T> = wasmtime::Result<Result<T, Failure>>;

/// A question to the cacher that was allowed; `None` when the node has none.
type Asked<T> = Result<Option<Answer<T>>, MoleculerError>;

impl State {
    /// Asks about a key.
    fn ask<T>(&self, key: &str, ask: impl FnOnce(&dyn Cacher) -> Answer<T>) -> Asked<T> {
        self.permit_key(key)?;
        Ok(self.cacher()?.map(ask))
    }

    fn ask_to_keep(&self, key: &str, value: PayloadResult, ttl: Option<f64>) -> Asked<()> {
        let ttl = ttl.map(seconds).transpose()?;
        let value = payload_from_guest("value for the cacher", value, self.any_payload_len_max()?)?;
        self.ask(key, |cacher| cacher.set(key, value, ttl))
    }

    fn ask_to_remove(&self, keys: &[String]) -> Asked<()> {
        keys.iter().try_for_each(|key| self.permit_key(key))?;
        Ok(self.cacher()?.map(|cacher| cacher.del(keys)))
    }

    fn ask_to_clean(&self, patterns: &[String]) -> Asked<()> {
        for pattern in patterns {
            check_len("pattern", pattern.len(), self.environment.limits.meta)?;
            let allowed = self.environment.cache_grant.allows_pattern(pattern);
            self.permit_cache(allowed, "clean the keys", pattern)?;
        }
        Ok(self.cacher()?.map(|cacher| cacher.clean(patterns)))
    }

    /// The cacher of the node, for the handler that runs.
    fn cacher(&self) -> Result<Option<&dyn Cacher>, MoleculerError> {
        self.any_payload_len_max()?;
        Ok(self.environment.cacher.as_deref())
    }

    fn permit_key(&self, key: &str) -> Result<(), MoleculerError> {
        check_len("key", key.len(), self.environment.limits.meta)?;
        self.permit_cache(self.environment.cache_grant.allows_key(key), "use the key", key)
    }

    fn permit_cache(&self, allowed: bool, what: &str, key: &str) -> Result<(), MoleculerError> {
        if allowed {
            return Ok(());
        }
        self.environment.counters.permission_denied.increment();
        let what = format!("{what} '{key}' of the cacher");
        Err(MoleculerError::permission_denied(&self.environment.service, &what, "cache"))
    }

    pub(super) fn kept_value(&self, key: &str) -> impl Answering<Option<PayloadResult>> + use<> {
        let asked = self.ask(key, |cacher| cacher.get(key));
        let len_max = self.any_payload_len_max();
        async move { found(asked).await?.map(|value| lend(value, len_max?)).transpose() }
    }

    pub(super) fn kept_value_with_ttl(
        &self,
        key: &str,
    ) -> impl Answering<Option<(PayloadResult, Option<f64>)>> + use<> {
        let asked = self.ask(key, |cacher| cacher.get_with_ttl(key));
        let len_max = self.any_payload_len_max();
        async move {
            let Some(Entry { value, ttl }) = found(asked).await? else { return Ok(None) };
            Ok(Some((lend(value, len_max?)?, ttl.map(|ttl| ttl.as_secs_f64()))))
        }
    }

    pub(super) fn keep(
        &self,
        key: &str,
        value: PayloadResult,
        ttl: Option<f64>,
    ) -> impl Answering<()> + use<> {
        kept(self.ask_to_keep(key, value, ttl))
    }

    pub(super) fn remove(&self, keys: &[String]) -> impl Answering<()> + use<> {
        removed(self.ask_to_remove(keys))
    }

    pub(super) fn clean_keys(&self, patterns: &[String]) -> impl Answering<()> + use<> {
        removed(self.ask_to_clean(patterns))
    }
}

/// Waits for the cacher, without the guest's store.
pub(super) trait Answering<T>:
    Future<Output = Result<T, MoleculerError>> + Send + 'static
{
}

impl<T, F: Future<Output = Result<T, MoleculerError>> + Send + 'static> Answering<T> for F {}

fn lend(value: Payload, len_max: usize) -> Result<PayloadResult, MoleculerError> {
    check_len("value of the cacher", value.len(), len_max)?;
    Ok(payload_to_result(value))
}

/// What was found; a store that fails has nothing.
async fn found<T: Send + 'static>(asked: Asked<Option<T>>) -> Result<Option<T>, MoleculerError> {
    match asked? {
        Some(answer) => Ok(wait(answer).await.unwrap_or(None)),
        None => Ok(None),
    }
}

/// What cannot be kept is made again by whoever asks for it.
async fn kept(asked: Asked<()>) -> Result<(), MoleculerError> {
    if let Some(answer) = asked? {
        let _ = wait(answer).await;
    }
    Ok(())
}

async fn removed(asked: Asked<()>) -> Result<(), MoleculerError> {
    match asked? {
        Some(answer) => wait(answer).await.map_err(|error| unavailable(&error)),
        None => Ok(()),
    }
}

fn seconds(ttl: f64) -> Result<Duration, MoleculerError> {
    Duration::try_from_secs_f64(ttl).map_err(|error| {
        let message = format!("The ttl {ttl} cannot be used: {error}.");
        MoleculerError::validation(message, &serde_json::Value::Null)
    })
}

/// Waits beside the guest, if there is something to wait for.
async fn wait<T: Send + 'static>(answer: Answer<T>) -> Result<T, Error> {
    match answer {
        Answer::Now(answer) => answer,
        Answer::Later(answer) => {
            let panicked = |_| Err(Error::Store { reason: "it panicked".into() });
            task::run(answer).await.unwrap_or_else(panicked)
        }
    }
}

/// The store did not remove what it should have.
fn unavailable(error: &Error) -> MoleculerError {
    match error {
        Error::Pattern { .. } => {
            MoleculerError::validation(error.to_string(), &serde_json::Value::Null)
        }
        _ => MoleculerError::server("CACHER_UNAVAILABLE", error.to_string()),
    }
}

impl Host for State {
    fn enabled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.environment.cacher.as_ref().is_some_and(|cacher| cacher.connected()))
    }

    async fn get(&mut self, key: String) -> Answered<Option<PayloadResult>> {
        Ok(self.kept_value(&key).await.map_err(|error| failure_from(&error)))
    }

    async fn get_with_ttl(
        &mut self,
        key: String,
    ) -> Answered<Option<(PayloadResult, Option<f64>)>> {
        Ok(self.kept_value_with_ttl(&key).await.map_err(|error| failure_from(&error)))
    }

    async fn set(&mut self, key: String, value: PayloadResult, ttl: Option<f64>) -> Answered<()> {
        Ok(self.keep(&key, value, ttl).await.map_err(|error| failure_from(&error)))
    }

    async fn del(&mut self, keys: Vec<String>) -> Answered<()> {
        Ok(self.remove(&keys).await.map_err(|error| failure_from(&error)))
    }

    async fn clean(&mut self, patterns: Vec<String>) -> Answered<()> {
        Ok(self.clean_keys(&patterns).await.map_err(|error| failure_from(&error)))
    }
}
