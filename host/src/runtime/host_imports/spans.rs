//! The interfaces `spans`, `tracing` and `tracing-async`: spans that a guest makes.
//!
//! Recording never fails a guest, so nothing here returns a failure: what is not allowed or makes no sense is left out,
//! counted, and told to the log once for each handler. Nothing is read of what would not be exported.

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::component::Resource;

use crate::context::Context;
use crate::runtime::bindings::asynchronous::isomer::service::tracing_async;
use crate::runtime::bindings::isomer::service::spans::{Host, HostSpan};
use crate::runtime::bindings::isomer::service::tracing;
use crate::runtime::bindings::isomer::service::types::Failure;
use crate::runtime::failure::{error_from_guest, object_from_guest};
use crate::runtime::handlers::{Handle, OWN_CONTEXT};
use crate::runtime::host_imports::options;
use crate::runtime::log_sink::{Level, Origin};
use crate::runtime::spans::GuestSpan;
use crate::runtime::state::{CurrentContext, State};
use crate::tracer::{self, Span, SpanOptions, Tracer};

/// Most bytes of the name of a span and of a log in it; longer ones are cut.
const NAME_MAX: usize = 256;

type Ctx = Resource<CurrentContext>;
type Handed = Resource<GuestSpan>;

impl State {
    /// Begins a span of a handler.
    pub(super) fn begin_span(
        &mut self,
        handler: Handle,
        name: String,
        options: Option<String>,
    ) -> wasmtime::Result<Handed> {
        let ctx = self.running(handler)?.ctx.clone();
        let id = self.tracer_for(&ctx).and_then(|tracer| {
            let options = self.span_options(handler, options)?;
            let span = match ctx.span().filter(|_| handler != OWN_CONTEXT) {
                Some(span) => span.start_span(cut(name), options),
                None => begin_root(&tracer, &ctx, handler, cut(name), options),
            };
            if handler != OWN_CONTEXT {
                ctx.enter_span(span.clone());
            }
            self.keep_span(handler, span)
        });
        Ok(self.table.push(GuestSpan { handler, id })?)
    }

    /// The tracer, when what a guest records of this chain can be exported.
    fn tracer_for(&self, ctx: &Context) -> Option<Tracer> {
        if ctx.tracing() == Some(false) {
            return None;
        }
        self.environment.caller()?.tracer().filter(Tracer::enabled)
    }

    /// Checks that there may be one more span, and reads its options.
    fn span_options(&mut self, handler: Handle, text: Option<String>) -> Option<SpanOptions> {
        let environment = Arc::clone(&self.environment);
        let limits = &environment.limits;
        let running = self.handlers.get(handler).ok()?;
        if let Err(error) = running.spans.check_room(limits, handler == OWN_CONTEXT) {
            self.refuse_of_span(handler, &error);
            return None;
        }
        let room = limits.span_bytes;
        let mut options = options::span_options(text, room).unwrap_or_else(|error| {
            self.refuse_of_span(handler, &error);
            SpanOptions::default()
        });
        if tracer::weight(&options.tags) > room {
            options.tags = Map::new();
            self.refuse_of_span(handler, &tracer::Refused::TooLarge { max: room });
        }
        options.bytes_max = Some(room);
        Some(options)
    }

    fn keep_span(&mut self, handler: Handle, span: Span) -> Option<Arc<str>> {
        let id = Arc::clone(span.id());
        self.handlers.get_mut(handler).ok()?.spans.add(span);
        Some(id)
    }

    /// Counts what is left out.
    fn refuse_of_span(&mut self, handler: Handle, error: &dyn std::fmt::Display) {
        self.environment.counters.spans_refused.increment();
        let Ok(running) = self.handlers.get_mut(handler) else { return };
        if running.spans.tell_once() {
            let origin =
                Origin { request_id: &running.ctx.request_id, context_id: &running.ctx.id };
            let message = format!("left out of a span, and so is more of this call: {error}");
            self.environment.log.write(Level::Warn, origin, &message, "");
        }
    }

    /// The span, while it is open and recorded, and whose it is.
    fn open_span(&self, span: &Handed) -> wasmtime::Result<Option<(Handle, Span)>> {
        let GuestSpan { handler, id: Some(id) } = self.table.get(span)? else { return Ok(None) };
        let running = self.handlers.get(*handler).ok();
        Ok(running.and_then(|running| running.spans.get(id)).map(|span| (*handler, span.clone())))
    }

    /// A JSON object for a span; `None` when it is refused.
    fn of_span(&mut self, handler: Handle, what: &str, text: String) -> Option<Map<String, Value>> {
        match object_from_guest(what, text, self.environment.limits.span_bytes) {
            Ok(object) => Some(object.to_map()),
            Err(error) => {
                self.refuse_of_span(handler, &error);
                None
            }
        }
    }
}

/// Begins a span where the tracer has made none: beside that of the call, if the chain has others.
fn begin_root(
    tracer: &Tracer,
    ctx: &Context,
    handler: Handle,
    name: String,
    options: SpanOptions,
) -> Span {
    if handler == OWN_CONTEXT {
        return tracer.start_span(name, options);
    }
    let options = SpanOptions {
        trace_id: Some(Arc::clone(&ctx.request_id)),
        parent_id: ctx.parent_id.clone(),
        sampled: ctx.tracing(),
        ..options
    };
    let span = tracer.start_span(name, options);
    ctx.decide_tracing(span.sampled());
    span
}

impl HostSpan for State {
    fn add_tags(&mut self, span: Handed, object: String) -> wasmtime::Result<()> {
        if let Some((handler, span)) = self.open_span(&span)?
            && span.sampled()
            && let Some(tags) = self.of_span(handler, "tags", object)
            && let Err(error) = span.add_tags(tags)
        {
            self.refuse_of_span(handler, &error);
        }
        Ok(())
    }

    fn log(&mut self, span: Handed, name: String, fields: Option<String>) -> wasmtime::Result<()> {
        if let Some((handler, span)) = self.open_span(&span)?
            && span.sampled()
        {
            let fields = fields.and_then(|text| self.of_span(handler, "fields", text));
            if let Err(error) = span.log(&cut(name), fields.unwrap_or_default()) {
                self.refuse_of_span(handler, &error);
            }
        }
        Ok(())
    }

    fn set_error(&mut self, span: Handed, error: Failure) -> wasmtime::Result<()> {
        if let Some((handler, span)) = self.open_span(&span)?
            && span.sampled()
        {
            let max = self.environment.limits.span_bytes;
            let (error, whole) = shortened(error, max);
            if !whole {
                self.refuse_of_span(handler, &tracer::Refused::TooLarge { max });
            }
            span.set_error(error_from_guest(error));
        }
        Ok(())
    }

    fn start_span(
        &mut self,
        span: Handed,
        name: String,
        options: Option<String>,
    ) -> wasmtime::Result<Handed> {
        let handler = self.table.get(&span)?.handler;
        let id = self.open_span(&span)?.and_then(|(_, span)| {
            let options = self.span_options(handler, options)?;
            self.keep_span(handler, span.start_span(cut(name), options))
        });
        Ok(self.table.push(GuestSpan { handler, id })?)
    }

    fn finish(&mut self, span: Handed) -> wasmtime::Result<()> {
        let GuestSpan { handler, id: Some(id) } = self.table.get(&span)? else { return Ok(()) };
        if let Ok(running) = self.handlers.get_mut(*handler) {
            let ctx = running.ctx.clone();
            running.spans.finish(&ctx, id);
        }
        Ok(())
    }

    fn drop(&mut self, span: Handed) -> wasmtime::Result<()> {
        // It ends with its handler.
        self.table.delete(span)?;
        Ok(())
    }
}

impl Host for State {}

impl tracing::Host for State {
    fn start_span(
        &mut self,
        ctx: Ctx,
        name: String,
        options: Option<String>,
    ) -> wasmtime::Result<Handed> {
        self.begin_span(ctx.rep(), name, options)
    }
}

impl tracing_async::Host for State {
    fn start_span(
        &mut self,
        ctx: Ctx,
        name: String,
        options: Option<String>,
    ) -> wasmtime::Result<Handed> {
        self.begin_span(ctx.rep(), name, options)
    }
}

/// A name that is not too long.
fn cut(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(NAME_MAX));
    name
}

/// A failure that a span may carry, and whether it is all of it.
fn shortened(failure: Failure, max: usize) -> (Failure, bool) {
    let texts = [&failure.data, &failure.stack, &failure.extra, &failure.type_];
    let beside: usize = texts.iter().map(|text| text.as_ref().map_or(0, String::len)).sum();
    if failure.name.len() + failure.message.len() + beside <= max {
        return (failure, true);
    }
    let short = Failure {
        name: cut(failure.name),
        message: cut(failure.message),
        type_: failure.type_.map(cut),
        data: None,
        stack: None,
        extra: None,
        ..failure
    };
    (short, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::MoleculerError;
    use crate::runtime::failure::failure_from;

    #[test]
    fn long_names_and_errors_are_cut() {
        assert_eq!(cut("ä".repeat(200)).len(), 256);
        assert_eq!(cut(format!("a{}", "ä".repeat(200))).len(), 255);
        let error = |n: usize| failure_from(&MoleculerError::client(409, "T", "x".repeat(n)));
        let (kept, whole) = shortened(error(300), 400);
        assert!(whole && kept.message.len() == 300);
        let (kept, whole) = shortened(error(1_000), 400);
        assert!(!whole && kept.message.len() == 256);
        assert_eq!(kept.code, Some(409));
    }
}
