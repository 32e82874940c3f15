//! The spans that one handler has begun: how many it may have, and that none outlives it.
//!
//! The handler keeps them; the guest has only their IDs, so that what it holds on to after their end costs
//! nothing. What goes into a span is checked in `host_imports`.

use std::sync::Arc;

use crate::config::Limits;
use crate::context::Context;
use crate::runtime::handlers::Handle;
use crate::tracer::Span;

/// The guest's handle on a span.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct GuestSpan {
    pub(super) handler: Handle,
    /// `None` for one that records nothing.
    pub(super) id: Option<Arc<str>>,
}

/// Why a span was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMany {
    /// The handler has made as many as it may.
    #[error("a handler makes at most {0} spans; limits.spans of the service allows more")]
    Made(usize),
    /// It has as many open as it may.
    #[error("a handler has at most {0} open spans; limits.openSpans of the service allows more")]
    Open(usize),
}

/// The spans of one handler.
#[derive(Debug, Default)]
pub(super) struct Spans {
    open: Vec<Span>,
    n_made: usize,
    told: bool,
}

impl Spans {
    /// Whether there may be one more. The service's own context, which never ends, may make any number.
    pub(super) fn check_room(&self, limits: &Limits, endless: bool) -> Result<(), TooMany> {
        if self.n_made >= limits.spans && !endless {
            return Err(TooMany::Made(limits.spans));
        }
        if self.open.len() >= limits.open_spans {
            return Err(TooMany::Open(limits.open_spans));
        }
        Ok(())
    }

    /// Takes one that has begun.
    pub(super) fn add(&mut self, span: Span) {
        self.n_made = self.n_made.saturating_add(1);
        self.open.push(span);
    }

    /// One that has not ended.
    pub(super) fn get(&self, id: &str) -> Option<&Span> {
        self.open.iter().find(|span| &**span.id() == id)
    }

    /// Ends one.
    pub(super) fn finish(&mut self, ctx: &Context, id: &str) {
        if let Some(place) = self.open.iter().position(|span| &**span.id() == id) {
            ctx.finish_span(&self.open.remove(place));
        }
    }

    /// Ends all, the newest first.
    pub(super) fn finish_all(&mut self, ctx: &Context) {
        while let Some(span) = self.open.pop() {
            ctx.finish_span(&span);
        }
    }

    /// Whether the log has not been told yet that something was refused; true only once.
    pub(super) fn tell_once(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tracing;
    use crate::context::ContextBuilder;
    use crate::tracer::{SpanOptions, Tracer};

    #[test]
    fn a_handler_has_so_many_spans_and_so_many_open_and_all_end_with_it() {
        let tracer = Tracer::new(Tracing { enabled: true, ..Tracing::default() });
        let limits = Limits { spans: 3, open_spans: 2, ..Limits::default() };
        let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
        let mut spans = Spans::default();
        let begin = |spans: &mut Spans| -> Result<Span, TooMany> {
            spans.check_room(&limits, false)?;
            let span = tracer.start_span("s", SpanOptions::default());
            ctx.enter_span(span.clone());
            spans.add(span.clone());
            Ok(span)
        };
        let first = begin(&mut spans).unwrap();
        let second = begin(&mut spans).unwrap();
        assert_eq!(begin(&mut spans).unwrap_err(), TooMany::Open(2));
        spans.finish(&ctx, first.id());
        assert!(!first.is_active() && spans.get(first.id()).is_none());
        assert!(spans.get(second.id()).is_some());
        let third = begin(&mut spans).unwrap();
        spans.finish(&ctx, second.id());
        assert_eq!(begin(&mut spans).unwrap_err(), TooMany::Made(3));
        assert_eq!(spans.check_room(&limits, true), Ok(()), "who never ends has no sum");
        spans.finish_all(&ctx);
        assert!(!third.is_active() && ctx.span().is_none());
        assert!(spans.tell_once() && !spans.tell_once());
    }
}
