//! Spans: named parts of a handler's work, which the tracer of the node shows with its calls.
//!
//! Recording never fails: what has no JSON form, and what the node does not take, is left out.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::json;

use crate::host::Recording;
use crate::{Context, Error};

/// A part of the work of a handler. It ends when it is dropped, or by [`Span::finish`].
///
/// ```
/// # use isomer_sdk::prelude::*;
/// async fn author(ctx: &Context, id: u32) -> Result<Value> {
///     let span = ctx.start_span("find the author");
///     span.tag("id", id).tag("source", "users");
///     // A child of the span.
///     let found = ctx.call("users.get", json!({ "id": id })).await;
///     if let Err(error) = &found {
///         span.error(error);
///     }
///     found
/// }
/// ```
#[must_use = "it ends when it is dropped"]
pub struct Span<'a> {
    recording: Box<dyn Recording>,
    /// It ends with the handler at the latest.
    of: PhantomData<&'a Context>,
}

impl Span<'_> {
    pub(crate) fn new(recording: Box<dyn Recording>) -> Self {
        Self { recording, of: PhantomData }
    }

    /// Adds a tag; one of the same name is replaced.
    pub fn tag(&self, name: &str, value: impl Serialize) -> &Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.recording.add_tags(&json!({ name: value }).to_string());
        }
        self
    }

    /// Adds the keys of an object as tags.
    pub fn tags(&self, object: impl Serialize) -> &Self {
        if let Ok(object) = serde_json::to_string(&object) {
            self.recording.add_tags(&object);
        }
        self
    }

    /// Notes that something happened now; `fields` is an object with what is to be known of it, or `()`.
    pub fn log(&self, name: &str, fields: impl Serialize) -> &Self {
        let fields = serde_json::to_string(&fields).ok().filter(|text| text != "null");
        self.recording.log(name, fields.as_deref());
        self
    }

    /// Marks it as failed.
    pub fn error(&self, error: &Error) -> &Self {
        self.recording.set_error(error.clone());
        self
    }

    /// Begins a part of it. Calls are children of what [`Context::start_span`] has begun, not of such a part.
    pub fn start_span(&self, name: &str) -> Self {
        Self::new(self.recording.start_span(name))
    }

    /// Ends it.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        self.recording.finish();
    }
}
