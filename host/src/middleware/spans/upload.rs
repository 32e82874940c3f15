//! Sends spans to a server that keeps and shows them, several at once
//! (moleculer: src/tracing/exporters; what they have in common).
//!
//! Where a span ends it only joins a queue, which is bounded in number and bytes; a task does the rest. Unlike in
//! Moleculer, what a server could not take is sent again later, and at the stop of the node what is still held is
//! sent, within a limit of time. What does not fit, and what a server refuses, is dropped and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::backoff;
use crate::config::tracing::{self as config, Receiver};
use crate::metrics::{Metric, MetricRegistry};
use crate::middleware::delivery::{Delivery, Outcome};
use crate::middleware::spans::{datadog, jaeger, otlp, tags, zipkin};
use crate::task::{self, CancellationToken};
use crate::tracer::{Exporter, Span};

/// Most spans that wait to be sent, and most bytes of them; further ones are dropped and counted.
const SPANS_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// About so many spans, and bytes of them, go with one request.
const REQUEST_SPANS: usize = 1_000;
const REQUEST_BYTES: usize = 512 << 10;

/// Longest pause between two attempts to reach a server, and which pause is the first.
const RETRY_MAX: Duration = Duration::from_secs(60);
const RETRY_FIRST: u32 = 4;

/// How long a stop waits until everything is sent.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Who sends.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The namespace of the mesh.
    pub namespace: String,
    /// The node.
    pub node_id: String,
    /// The host that it runs on.
    pub host: String,
}

/// The exporter. Cheap to clone.
#[derive(Clone)]
pub struct Upload(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// A span has come.
    more: Notify,
    interval: Duration,
    /// Which traces are sent.
    chosen: Box<dyn Fn(&Span) -> bool + Send + Sync>,
    stop: CancellationToken,
    done: CancellationToken,
    sent: Metric,
    dropped: Metric,
}

#[derive(Default)]
struct Queue {
    spans: VecDeque<(Span, usize)>,
    bytes: usize,
}

/// What goes with one request, and how many spans that are.
type Body = (Bytes, usize);

/// Makes bodies of spans; fewer spans than there were when some are too large.
type Form = Box<dyn Fn(&[Value]) -> Vec<Body> + Send + Sync>;

struct Sender {
    form: Form,
    way: Way,
    /// What is being sent, and what could not be.
    pending: VecDeque<Body>,
}

enum Way {
    Http(Box<Delivery>),
    /// To an agent by UDP: host, port, whether the last one failed.
    Datagrams(String, u16, bool),
}

impl Upload {
    /// Sends on `work` until it is stopped or `cancel` is.
    #[must_use]
    pub fn new(
        options: config::Upload,
        origin: &Origin,
        work: &Handle,
        cancel: &CancellationToken,
        metrics: &MetricRegistry,
    ) -> Self {
        let interval = options.interval;
        let rate = match &options.to {
            Receiver::Jaeger(jaeger) => jaeger.rate,
            _ => 1.0,
        };
        let chosen = move |span: &Span| rate >= 1.0 || jaeger::chosen(rate, span.trace_id());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            more: Notify::new(),
            interval,
            chosen: Box::new(chosen),
            stop: cancel.child_token(),
            done: CancellationToken::new(),
            sent: metrics.metric("isomer.tracing.spans.sent.total"),
            dropped: metrics.metric("isomer.tracing.spans.dropped.total"),
        });
        let sender = sender(options, origin);
        let running = Arc::clone(&shared);
        task::spawn_on(work, "span upload", async move { run(&running, sender).await });
        Self(shared)
    }
}

impl Exporter for Upload {
    fn span_started(&self, _: &Span) {}

    fn span_finished(&self, span: &Span) {
        let shared = &*self.0;
        if !(shared.chosen)(span) {
            return;
        }
        let bytes = span.weight();
        {
            let mut queue = shared.queue.lock();
            if queue.spans.len() >= SPANS_MAX || queue.bytes.saturating_add(bytes) > BYTES_MAX {
                shared.dropped.increment();
                return;
            }
            queue.bytes += bytes;
            queue.spans.push_back((span.clone(), bytes));
        }
        if shared.interval.is_zero() {
            shared.more.notify_one();
        }
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async move {
            self.0.stop.cancel();
            // The task keeps to the same limit.
            let _ = tokio::time::timeout(2 * STOP_TIMEOUT, self.0.done.cancelled()).await;
        }
        .boxed()
    }
}

impl Shared {
    /// The next spans for one request; none when there are none.
    fn take(&self) -> Vec<Value> {
        let mut taken = Vec::new();
        let mut sum = 0;
        while taken.len() < REQUEST_SPANS && sum < REQUEST_BYTES {
            let next = {
                let mut queue = self.queue.lock();
                let next = queue.spans.pop_front();
                queue.bytes -= next.as_ref().map_or(0, |(_, bytes)| *bytes);
                next
            };
            let Some((span, bytes)) = next else { break };
            sum += bytes;
            // Outside of the lock, because it copies.
            taken.push(span.to_value(&Map::new()));
        }
        taken
    }

    async fn due(&self) {
        if self.interval.is_zero() {
            self.more.notified().await;
        } else {
            tokio::time::sleep(self.interval).await;
        }
    }
}

async fn run(shared: &Shared, mut sender: Sender) {
    let deliver = async {
        loop {
            shared.due().await;
            while sender.fill(shared) {
                let mut attempt = RETRY_FIRST;
                while sender.deliver(shared).await == Outcome::Away {
                    tokio::time::sleep(backoff::delay(attempt, RETRY_MAX)).await;
                    attempt += 1;
                }
            }
        }
    };
    shared.stop.run_until_cancelled(deliver).await;
    let rest = async {
        while sender.fill(shared) {
            if sender.deliver(shared).await == Outcome::Away {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(STOP_TIMEOUT, rest).await;
    let lost = sender.pending.iter().map(|(_, spans)| *spans).sum::<usize>()
        + std::mem::take(&mut *shared.queue.lock()).spans.len();
    if lost > 0 {
        shared.dropped.add(i64::try_from(lost).unwrap_or(i64::MAX));
        tracing::warn!(lost, "spans could not be sent before the stop");
    }
    shared.done.cancel();
}

impl Sender {
    /// Makes bodies of the next spans, unless some are there; false when there is nothing to send.
    fn fill(&mut self, shared: &Shared) -> bool {
        while self.pending.is_empty() {
            let spans = shared.take();
            if spans.is_empty() {
                return false;
            }
            self.pending.extend((self.form)(&spans));
            let fitting: usize = self.pending.iter().map(|(_, spans)| *spans).sum();
            let lost = spans.len().saturating_sub(fitting);
            shared.dropped.add(i64::try_from(lost).unwrap_or(i64::MAX));
        }
        true
    }

    /// Sends what is pending, up to the first that finds its server away.
    async fn deliver(&mut self, shared: &Shared) -> Outcome {
        while let Some((body, spans)) = self.pending.front() {
            let spans = i64::try_from(*spans).unwrap_or(i64::MAX);
            let outcome = self.way.send(body.clone()).await;
            match outcome {
                Outcome::Away => return outcome,
                Outcome::Taken => shared.sent.add(spans),
                Outcome::Refused => shared.dropped.add(spans),
            }
            self.pending.pop_front();
        }
        Outcome::Taken
    }
}

impl Way {
    async fn send(&mut self, body: Bytes) -> Outcome {
        match self {
            Self::Http(delivery) => delivery.send(body).await,
            Self::Datagrams(host, port, failing) => match datagram(host, *port, &body).await {
                Ok(()) => {
                    *failing = false;
                    Outcome::Taken
                }
                // A datagram tells nobody that it has arrived, so a later one would not, either.
                Err(error) => {
                    if !std::mem::replace(failing, true) {
                        tracing::warn!(%error, "spans cannot be sent to Jaeger's agent on {host}:{port}");
                    }
                    Outcome::Refused
                }
            },
        }
    }
}

async fn datagram(host: &str, port: u16, body: &[u8]) -> std::io::Result<()> {
    let address = tokio::net::lookup_host((host, port)).await?.next();
    let address = address.ok_or_else(|| std::io::Error::other("the host has no address"))?;
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(own).await?.send_to(body, address).await.map(drop)
}

/// Which server gets what.
fn sender(options: config::Upload, origin: &Origin) -> Sender {
    let tags = Value::Object(options.default_tags);
    let (mut flat, mut text) = (Map::new(), Map::new());
    tags::flatten(&mut flat, "", &tags);
    tags::flatten_text(&mut text, "", &tags);
    let http = |server, url, headers: &[(String, String)], content_type| {
        Way::Http(Box::new(Delivery::new("spans", server, url, headers, content_type)))
    };
    let json = "application/json";
    let (form, way): (Form, Way) = match options.to {
        Receiver::Zipkin { base_url, debug, shared, headers } => {
            let form = zipkin::Form { new_relic: false, debug, shared, default_tags: text };
            let way = http("Zipkin", base_url.join("/api/v2/spans"), &headers, json);
            (Box::new(move |spans| list(spans.iter().map(|span| form.payload(span)))), way)
        }
        Receiver::NewRelic { base_url, insert_key, debug, shared } => {
            let form = zipkin::Form { new_relic: true, debug, shared, default_tags: text };
            let headers = [
                ("Api-Key", &*insert_key),
                ("Data-Format", "zipkin"),
                ("Data-Format-Version", "2"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
            let way = http("New Relic", base_url.join("/trace/v1"), &headers, json);
            (Box::new(move |spans| list(spans.iter().map(|span| form.payload(span)))), way)
        }
        Receiver::Otlp { url, headers } => {
            let Origin { namespace, node_id, host } = origin.clone();
            let form = otlp::Form { namespace, node_id, host, default_tags: flat };
            let way = http("the OTLP collector", url, &headers, json);
            (Box::new(move |spans| one(&form.request(spans), spans.len())), way)
        }
        Receiver::Datadog { url, simple, env, sampling_priority } => {
            let form = datadog::Form { simple, env, sampling_priority, default_tags: text };
            let way = http("Datadog's agent", url, &[], json);
            (Box::new(move |spans| one(&form.traces(spans), spans.len())), way)
        }
        Receiver::Jaeger(jaeger) => {
            let mut process = Map::new();
            process.insert("hostname".into(), origin.host.clone().into());
            process.insert("nodeID".into(), origin.node_id.clone().into());
            tags::flatten(&mut process, "", &Value::Object(jaeger.process_tags));
            let form = jaeger::Form { legacy: jaeger.legacy_mode, process, default_tags: flat };
            let most = jaeger.endpoint.is_none().then_some(jaeger::DATAGRAM_MAX);
            let way = match jaeger.endpoint {
                Some(url) => http("Jaeger", url, &[], "application/x-thrift"),
                None => Way::Datagrams(jaeger.host, jaeger.port, false),
            };
            let bodies = move |spans: &[Value]| {
                let batches = form.batches(spans, most).into_iter();
                batches.map(|(bytes, spans)| (bytes.into(), spans)).collect()
            };
            (Box::new(bodies), way)
        }
    };
    Sender { form, way, pending: VecDeque::new() }
}

fn list(payloads: impl Iterator<Item = Value>) -> Vec<Body> {
    let payloads: Vec<_> = payloads.collect();
    one(&payloads, payloads.len())
}

fn one(body: &impl serde::Serialize, spans: usize) -> Vec<Body> {
    // Values of JSON are always written.
    let body = serde_json::to_vec(body).unwrap_or_default();
    vec![(body.into(), spans)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Tracing;
    use crate::tracer::{SpanOptions, Tracer};

    #[tokio::test]
    async fn as_many_spans_wait_as_the_limits_say_and_no_more() {
        let metrics = MetricRegistry::default();
        let to = Receiver::Jaeger(config::Jaeger { rate: 1.0, ..config::Jaeger::default() });
        let options =
            config::Upload { interval: Duration::from_secs(3_600), ..config::Upload::new(to) };
        let origin = Origin { namespace: String::new(), node_id: "n".into(), host: "h".into() };
        let cancel = CancellationToken::new();
        let upload =
            || Upload::new(options.clone(), &origin, &Handle::current(), &cancel, &metrics);
        let tracer = || Tracer::new(Tracing { enabled: true, ..Tracing::default() });
        let dropped = || metrics.metric("isomer.tracing.spans.dropped.total").get();

        let (many, first) = (tracer(), upload());
        many.export_to(vec![Arc::new(first.clone())]);
        (0..SPANS_MAX).for_each(|_| many.start_span("s", SpanOptions::default()).finish());
        assert_eq!((dropped(), first.0.queue.lock().spans.len()), (0, SPANS_MAX));
        many.start_span("one more", SpanOptions::default()).finish();
        assert_eq!((dropped(), first.0.queue.lock().spans.len()), (1, SPANS_MAX));

        let (large, second) = (tracer(), upload());
        large.export_to(vec![Arc::new(second.clone())]);
        let text = json!({"text": "x".repeat(BYTES_MAX - 100)});
        let tags = || text.as_object().cloned().unwrap_or_default();
        for expected in [1, 2] {
            let options = SpanOptions { tags: tags(), ..SpanOptions::default() };
            large.start_span("large", options).finish();
            assert_eq!((dropped(), second.0.queue.lock().spans.len()), (expected, 1));
        }
        // What is sent is no longer waiting.
        assert_eq!((second.0.take().len(), second.0.queue.lock().bytes), (1, 0));
        assert_eq!(first.0.take().len(), REQUEST_SPANS);
    }
}
