//! The cacher of the node: values that a service keeps under keys of its own.
//!
//! The calls go straight to the host and wait there, like all of its answers that need no other service.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::Host;
use crate::{Payload, Result};

/// The cacher, from [`Context::cacher`](crate::Context::cacher).
///
/// A service may use keys that begin with its own full name and a dot or a colon (`posts:popular`); the
/// operator can grant others. Results of cached actions are under the name of the action: after a change,
/// `clean(["posts.**"])` removes those of all actions of `posts`.
///
/// ```
/// # use isomer_sdk::prelude::*;
/// # use std::time::Duration;
/// async fn popular(ctx: &Context) -> Result<Vec<u64>> {
///     if let Some(found) = ctx.cacher().get("posts:popular")? {
///         return Ok(found);
///     }
///     let ids: Vec<u64> = ctx.call("stats.top", json!({ "n": 10 })).await?;
///     ctx.cacher().set("posts:popular", &ids, Duration::from_secs(60))?;
///     Ok(ids)
/// }
/// ```
pub struct Cacher<'a>(&'a dyn Host);

impl<'a> Cacher<'a> {
    pub(crate) fn new(host: &'a dyn Host) -> Self {
        Self(host)
    }

    /// Whether the node has a cacher that can be reached now. Without one nothing is found and nothing
    /// is kept, so there is no need to ask.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.0.cacher_enabled()
    }

    /// The value of a key; `None` when there is none.
    ///
    /// # Errors
    /// `PermissionDeniedError` when the key is not the service's; a `MoleculerError` when the value has
    /// another form than `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.0.cacher_get(key)?.map(Payload::into_value).transpose()
    }

    /// The value of a key and how long it will be kept; `None` in its place is for ever.
    ///
    /// # Errors
    /// As [`Cacher::get`].
    pub fn get_with_ttl<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, Option<Duration>)>> {
        let Some((value, ttl)) = self.0.cacher_get_with_ttl(key)? else { return Ok(None) };
        // A life that is no duration has no end that one could wait for.
        let ttl = ttl.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Some((value.into_value()?, ttl)))
    }

    /// Keeps a value. `ttl` is a [`Duration`] (zero is for ever), or `None` for what the node's options say.
    ///
    /// # Errors
    /// `PermissionDeniedError` when the key is not the service's; `PayloadTooLargeError`.
    pub fn set(
        &self,
        key: &str,
        value: impl Serialize,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<()> {
        let ttl = ttl.into().map(|ttl| ttl.as_secs_f64());
        self.0.cacher_set(key, Payload::from_value(&value)?, ttl)
    }

    /// Removes the values of keys.
    ///
    /// # Errors
    /// `PermissionDeniedError` when one of them is not the service's; `CACHER_UNAVAILABLE` when the store
    /// is away.
    pub fn del(&self, keys: impl IntoIterator<Item = impl Into<String>>) -> Result<()> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        self.0.cacher_del(&keys)
    }

    /// Removes the values whose keys match a pattern, such as `posts.**`.
    ///
    /// # Errors
    /// As [`Cacher::del`].
    pub fn clean(&self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Result<()> {
        let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        self.0.cacher_clean(&patterns)
    }
}
