//! Spans in Jaeger's own form, in the binary encoding of Thrift, for a collector or an agent
//! (moleculer: src/tracing/exporters/jaeger.js; jaeger-idl: thrift/jaeger.thrift, agent.thrift).

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::middleware::spans::tags;

/// Bytes of a datagram to the agent, as in Moleculer's library.
pub(super) const DATAGRAM_MAX: usize = 65_000;

/// Types of Thrift's binary encoding.
const BOOL: u8 = 2;
const DOUBLE: u8 = 4;
const I32: u8 = 8;
const I64: u8 = 10;
const TEXT: u8 = 11;
const STRUCT: u8 = 12;
const LIST: u8 = 15;

/// Types of Jaeger's tags.
const TAG_TEXT: i32 = 0;
const TAG_DOUBLE: i32 = 1;
const TAG_BOOL: i32 = 2;

/// Begins the one message that an agent takes, which it does not answer: version 1, one-way, `emitBatch`, 0; then
/// the struct of its arguments, whose first is a struct.
const CALL: &[u8] = b"\x80\x01\x00\x04\x00\x00\x00\x09emitBatch\x00\x00\x00\x00\x0c\x00\x01";

/// Whether a trace is of the part that is sent. All nodes with the same rate say the same.
pub(super) fn chosen(rate: f64, trace: &str) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a part of a whole")]
    let part = tags::id64(trace) as f64 / u64::MAX as f64;
    rate >= 1.0 || part < rate
}

/// What was asked for.
pub(super) struct Form {
    /// Trace IDs of 64 bits.
    pub(super) legacy: bool,
    /// Tags of the process, on one level.
    pub(super) process: Map<String, Value>,
    pub(super) default_tags: Map<String, Value>,
}

impl Form {
    /// A batch for each service, and how many spans are in it. With a most of bytes there are more batches, as
    /// calls of an agent, and what is alone too large is not among them.
    pub(super) fn batches(&self, spans: &[Value], most: Option<usize>) -> Vec<(Vec<u8>, usize)> {
        let mut services: IndexMap<&str, Vec<Vec<u8>>> = IndexMap::new();
        for span in spans {
            let service = tags::service(span).unwrap_or("no-service");
            services.entry(service).or_default().push(self.span(span, service));
        }
        let mut batches = Vec::new();
        for (service, spans) in services {
            let mut process = Thrift::default();
            process.text(1, service);
            process.tags(2, &self.process);
            process.end();
            // What stands around the spans is less than the head of the call and this.
            let around = process.0.len() + CALL.len() + 16;
            let mut part: Vec<&[u8]> = Vec::new();
            let mut bytes = around;
            let fits = |bytes: usize| most.is_none_or(|most| bytes <= most);
            for span in spans.iter().filter(|span| fits(around + span.len())) {
                if !fits(bytes + span.len()) {
                    batches.extend(batch(&process.0, &part, most.is_some()));
                    (part, bytes) = (Vec::new(), around);
                }
                bytes += span.len();
                part.push(span);
            }
            batches.extend(batch(&process.0, &part, most.is_some()));
        }
        batches
    }

    fn span(&self, span: &Value, service: &str) -> Vec<u8> {
        let id = |key: &str| tags::field(span, key).map_or(0, tags::id64);
        let trace = tags::field(span, "traceID").unwrap_or_default();
        let (high, low) = if self.legacy {
            (0, tags::id64(trace))
        } else {
            let digits = tags::hex(trace, 32);
            let half =
                |text: Option<&str>| u64::from_str_radix(text.unwrap_or("0"), 16).unwrap_or(0);
            (half(digits.get(..16)), half(digits.get(16..)))
        };
        let mut out = Thrift::default();
        out.id(1, low);
        out.id(2, high);
        out.id(3, id("id"));
        out.id(4, id("parentID"));
        out.text(5, tags::field(span, "name").unwrap_or_default());
        if tags::field(span, "parentID").is_some() {
            out.list(6, STRUCT, 1);
            // Child of.
            out.number(1, 0);
            out.id(2, low);
            out.id(3, high);
            out.id(4, id("parentID"));
            out.end();
        }
        // Sampled.
        out.number(7, 1);
        out.id(8, tags::time(span, "startTime", 1e3).unwrap_or(0));
        out.id(9, tags::time(span, "duration", 1e3).unwrap_or(0));
        out.tags(10, &self.tags(span, service));
        out.logs(11, &span["logs"]);
        out.end();
        out.0
    }

    fn tags(&self, span: &Value, service: &str) -> Map<String, Value> {
        let mut all = self.default_tags.clone();
        all.extend(tags::field(span, "type").map(|kind| ("span.type".to_owned(), kind.into())));
        tags::flatten(&mut all, "", &span["tags"]);
        all.insert("service".into(), service.into());
        all.insert("span.kind".into(), "server".into());
        if let Some(error) = tags::error(span) {
            all.insert("error".into(), true.into());
            tags::flatten(&mut all, "error", error);
        }
        all
    }
}

/// What a collector takes, or the same as a call of an agent; none for no spans.
fn batch(process: &[u8], spans: &[&[u8]], call: bool) -> Option<(Vec<u8>, usize)> {
    if spans.is_empty() {
        return None;
    }
    let mut out = Thrift(if call { CALL.to_vec() } else { Vec::new() });
    out.field(STRUCT, 1);
    out.0.extend(process);
    out.list(2, STRUCT, spans.len());
    spans.iter().for_each(|span| out.0.extend(*span));
    out.end();
    if call {
        out.end();
    }
    Some((out.0, spans.len()))
}

/// A struct that is being written.
#[derive(Default)]
struct Thrift(Vec<u8>);

impl Thrift {
    fn field(&mut self, kind: u8, number: u16) {
        self.0.push(kind);
        self.0.extend(number.to_be_bytes());
    }

    fn len(&mut self, len: usize) {
        self.0.extend(i32::try_from(len).unwrap_or(i32::MAX).to_be_bytes());
    }

    fn id(&mut self, field: u16, number: u64) {
        self.field(I64, field);
        self.0.extend(number.to_be_bytes());
    }

    fn number(&mut self, field: u16, number: i32) {
        self.field(I32, field);
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, field: u16, text: &str) {
        self.field(TEXT, field);
        self.len(text.len());
        self.0.extend(text.as_bytes());
    }

    fn list(&mut self, field: u16, kind: u8, len: usize) {
        self.field(LIST, field);
        self.0.push(kind);
        self.len(len);
    }

    fn end(&mut self) {
        self.0.push(0);
    }

    fn tags(&mut self, field: u16, tags: &Map<String, Value>) {
        self.list(field, STRUCT, tags.len());
        for (key, value) in tags {
            self.tag(key, value);
        }
    }

    fn tag(&mut self, key: &str, value: &Value) {
        self.text(1, key);
        match value {
            Value::Bool(on) => {
                self.number(2, TAG_BOOL);
                self.field(BOOL, 5);
                self.0.push((*on).into());
            }
            // Every number, as in Moleculer's library.
            Value::Number(number) => {
                self.number(2, TAG_DOUBLE);
                self.field(DOUBLE, 4);
                self.0.extend(number.as_f64().unwrap_or(0.0).to_be_bytes());
            }
            other => {
                self.number(2, TAG_TEXT);
                self.text(3, &tags::text(other));
            }
        }
        self.end();
    }

    fn logs(&mut self, field: u16, logs: &Value) {
        let logs = logs.as_array().map_or(&[][..], Vec::as_slice);
        self.list(field, STRUCT, logs.len());
        for log in logs {
            self.id(1, tags::time(log, "time", 1e3).unwrap_or(0));
            self.list(2, STRUCT, 2);
            self.tag("event", &log["name"]);
            // One tag, whose text is JSON, as Moleculer's library makes it of an object.
            self.tag("payload", &log["fields"]);
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Form {
        Form { legacy: true, process: Map::new(), default_tags: Map::new() }
    }

    #[test]
    fn a_batch_is_what_thrift_says() {
        let span = json!({"name": "n", "traceID": "01", "id": "02", "startTime": 1.0, "duration": 0.5,
            "tags": {"t": true}, "logs": []});
        let batches = form().batches(&[span], None);
        let [(bytes, 1)] = &batches[..] else { panic!("{batches:?}") };
        let mut expected: Vec<u8> =
            b"\x0c\0\x01\x0b\0\x01\0\0\0\x0ano-service\x0f\0\x02\x0c\0\0\0\0\0".to_vec();
        expected.extend(b"\x0f\0\x02\x0c\0\0\0\x01");
        for (field, number) in [(1, 1_u64), (2, 0), (3, 2), (4, 0)] {
            expected.extend([I64, 0, field]);
            expected.extend(number.to_be_bytes());
        }
        expected.extend(b"\x0b\0\x05\0\0\0\x01n\x08\0\x07\0\0\0\x01");
        expected.extend(b"\x0a\0\x08\0\0\0\0\0\0\x03\xe8\x0a\0\x09\0\0\0\0\0\0\x01\xf4");
        expected.extend(b"\x0f\0\x0a\x0c\0\0\0\x03");
        expected.extend(b"\x0b\0\x01\0\0\0\x01t\x08\0\x02\0\0\0\x02\x02\0\x05\x01\0");
        expected.extend(
            b"\x0b\0\x01\0\0\0\x07service\x08\0\x02\0\0\0\0\x0b\0\x03\0\0\0\x0ano-service\0",
        );
        expected
            .extend(b"\x0b\0\x01\0\0\0\x09span.kind\x08\0\x02\0\0\0\0\x0b\0\x03\0\0\0\x06server\0");
        expected.extend(b"\x0f\0\x0b\x0c\0\0\0\0\0\0");
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn datagrams_are_bounded_and_what_is_too_large_is_left_out() {
        let span = |n: usize, service: &str| {
            json!({"name": "n", "traceID": "1", "id": "2", "service": {"fullName": service},
                "tags": {"t": "x".repeat(n)}, "logs": []})
        };
        let spans =
            [span(100, "a"), span(100, "b"), span(2_000, "a"), span(100, "a"), span(400, "a")];
        let batches = form().batches(&spans, Some(1_000));
        assert!(batches.iter().all(|(bytes, _)| bytes.len() <= 1_000 && bytes.starts_with(CALL)));
        let counts: Vec<_> = batches.iter().map(|(_, spans)| *spans).collect();
        assert_eq!(counts, [2, 1, 1], "two of a, the last of a, that of b");
    }

    #[test]
    fn a_part_of_the_traces_is_chosen_by_their_ids() {
        assert!(chosen(0.5, "7fffffff-ffff-4fff-8fff-ffffffffffff"));
        assert!(!chosen(0.5, "80000000-0000-4000-8000-000000000001"));
        assert!(!chosen(0.0, "00000000-0000-4000-8000-000000000001"));
    }
}
