//! Draws each chain into the log when it has ended (moleculer: src/tracing/exporters/console.js).

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::tracer::{Exporter, Span};

/// Most spans that wait for the end of their chain; further ones are not drawn.
const SPANS_MAX: usize = 10_000;

/// Deepest line of a drawing.
const DEPTH_MAX: usize = 100;

/// Narrowest drawing that can be read.
const WIDTH_MIN: usize = 60;

/// The exporter.
pub struct Console {
    width: usize,
    gauge_width: usize,
    spans: Mutex<HashMap<Arc<str>, Item>>,
    print: Box<dyn Fn(&str) + Send + Sync>,
}

struct Item {
    span: Span,
    children: Vec<Arc<str>>,
}

impl Console {
    /// Draws into the log with lines of `width` columns, of which `gauge_width` are for the bar.
    #[must_use]
    pub fn new(width: usize, gauge_width: usize) -> Self {
        Self::to(width, gauge_width, |line| tracing::info!("{line}"))
    }

    fn to(width: usize, gauge_width: usize, print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let width = width.max(WIDTH_MIN);
        let gauge_width = gauge_width.min(width / 2);
        Self { width, gauge_width, spans: Mutex::default(), print: Box::new(print) }
    }

    fn draw(&self, spans: &HashMap<Arc<str>, Item>, main: &Item) {
        let (total, depth) = measure(spans, main, 1);
        let rule = "─".repeat(self.width - 2);
        (self.print)(&format!("┌{rule}┐"));
        let end = format!(" Depth: {depth} Total: {total}");
        let inner = self.width - 4;
        let id = fit(&format!("ID: {}", main.span.id()), inner - end.len());
        (self.print)(&format!("│ {id}{end} │"));
        (self.print)(&format!("├{rule}┤"));
        self.draw_span(spans, main, &main.span, "", true, 1);
        (self.print)(&format!("└{rule}┘"));
    }

    fn draw_span(
        &self,
        spans: &HashMap<Arc<str>, Item>,
        item: &Item,
        main: &Span,
        before: &str,
        last: bool,
        level: usize,
    ) {
        let children: Vec<_> = item.children.iter().filter_map(|id| spans.get(id)).collect();
        let indent = if level == 1 {
            String::new()
        } else {
            let (turn, tail) =
                (if last { "└─" } else { "├─" }, if children.is_empty() { "── " } else { "┬─ " });
            format!("{before}{turn}{tail}")
        };
        let time = item.span.duration().map_or_else(|| "?".to_owned(), humanize);
        let inner = self.width - 4;
        let room = inner
            .saturating_sub(self.gauge_width + 4 + time.chars().count() + indent.chars().count());
        let caption = fit(&caption(&item.span), room);
        (self.print)(&format!("│ {indent}{caption} {time} {} │", self.gauge(&item.span, main)));
        if level >= DEPTH_MAX {
            return;
        }
        let deeper = match level {
            1 => String::new(),
            _ => format!("{before}{}", if last { "  " } else { "│ " }),
        };
        for (n, child) in children.iter().enumerate() {
            self.draw_span(spans, child, main, &deeper, n + 1 == children.len(), level + 1);
        }
    }

    /// Where in the time of the whole chain the span lies.
    fn gauge(&self, span: &Span, main: &Span) -> String {
        let whole = main.duration().unwrap_or(0.0);
        let start = span.start_time() - main.start_time();
        let stop = start + span.duration().unwrap_or(whole - start);
        let column = |time: f64| {
            let part = if whole > 0.0 { (time / whole).clamp(0.0, 1.0) } else { 1.0 };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a part of a small width"
            )]
            let column = (part * self.gauge_width as f64) as usize;
            column
        };
        let from = if whole > 0.0 { column(start).min(self.gauge_width - 1) } else { 0 };
        let bar = column(stop).saturating_sub(from).clamp(1, self.gauge_width - from);
        let rest = self.gauge_width - from - bar;
        format!("[{}{}{}]", ".".repeat(from), "■".repeat(bar), ".".repeat(rest))
    }
}

impl Exporter for Console {
    fn span_started(&self, span: &Span) {
        let mut spans = self.spans.lock();
        if spans.len() >= SPANS_MAX {
            return;
        }
        if let Some(parent) = span.parent_id().and_then(|id| spans.get_mut(id)) {
            parent.children.push(Arc::clone(span.id()));
        }
        spans.insert(Arc::clone(span.id()), Item { span: span.clone(), children: Vec::new() });
    }

    fn span_finished(&self, span: &Span) {
        let mut spans = self.spans.lock();
        if span.parent_id().is_some_and(|id| spans.contains_key(id)) {
            return;
        }
        if let Some(main) = spans.get(span.id()) {
            self.draw(&spans, main);
        }
        let mut gone = vec![Arc::clone(span.id())];
        while let Some(id) = gone.pop() {
            gone.extend(spans.remove(&id).into_iter().flat_map(|item| item.children));
        }
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.spans.lock().clear();
        std::future::ready(()).boxed()
    }
}

/// How many spans hang together, and how deep.
fn measure(spans: &HashMap<Arc<str>, Item>, item: &Item, level: usize) -> (usize, usize) {
    let (mut total, mut depth) = (1, level);
    if level < DEPTH_MAX {
        for child in item.children.iter().filter_map(|id| spans.get(id)) {
            let (n, deepest) = measure(spans, child, level + 1);
            total += n;
            depth = depth.max(deepest);
        }
    }
    (total, depth)
}

fn caption(span: &Span) -> String {
    let mut caption = span.name().to_owned();
    let marks = [
        (span.has_tag("fromCache"), " *"),
        (span.has_tag("remoteCall"), " »"),
        (span.failed(), " ×"),
    ];
    marks.iter().filter(|(set, _)| *set).for_each(|(_, mark)| caption.push_str(mark));
    caption
}

/// A text in exactly so many columns.
fn fit(text: &str, room: usize) -> String {
    let len = text.chars().count();
    if len <= room {
        return format!("{text}{}", " ".repeat(room - len));
    }
    let kept: String = text.chars().take(room.saturating_sub(3)).collect();
    format!("{kept}{}", ".".repeat(room.min(3)))
}

/// A time as a person reads it.
fn humanize(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0}μs", ms * 1e3),
        ms if ms < 1e3 => format!("{ms:.0}ms"),
        ms if ms < 60e3 => format!("{:.1}s", ms / 1e3),
        ms => format!("{:.1}m", ms / 60e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tracing;
    use crate::tracer::{SpanOptions, Tracer};

    #[test]
    fn a_chain_is_drawn_when_it_has_ended() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let drawn = Arc::clone(&lines);
        let tracer = Tracer::new(Tracing { enabled: true, ..Tracing::default() });
        let console = Console::to(80, 20, move |line| drawn.lock().push(line.to_owned()));
        tracer.export_to(vec![Arc::new(console)]);
        let main = tracer.start_span("action 'a.b'", SpanOptions::default());
        let first = main.start_span("first", SpanOptions::default());
        first
            .start_span(
                "a part of it whose name is too long for the line it is on",
                SpanOptions::default(),
            )
            .finish();
        first.finish();
        let second = main.start_span("second", SpanOptions::default());
        second.set_error(crate::error::MoleculerError::client(1, "T", "m"));
        second.finish();
        assert!(lines.lock().is_empty());
        main.finish();
        let lines = lines.lock();
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.chars().count() == 80), "{lines:#?}");
        assert!(lines[1].ends_with("Depth: 3 Total: 4 │"), "{}", lines[1]);
        for (line, begin) in
            lines[3..7].iter().zip(["action", "├─┬─ first", "│ └─── a part", "└─── second ×"])
        {
            assert!(line.starts_with(&format!("│ {begin}")), "{line}");
        }
    }
}
