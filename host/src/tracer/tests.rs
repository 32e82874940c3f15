//! Which chains are traced, and what spans carry.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::*;
use crate::error::MoleculerError;

fn tracer(options: Tracing) -> (Tracer, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let tracer = Tracer::new(Tracing { enabled: true, ..options });
    tracer.export_to(vec![Arc::<Kept>::clone(&kept)]);
    (tracer, kept)
}

#[derive(Default)]
struct Kept(Mutex<Vec<Value>>);

impl Exporter for Kept {
    fn span_started(&self, _: &Span) {}
    fn span_finished(&self, span: &Span) {
        self.0.lock().push(span.to_value(&Map::new()));
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[test]
fn a_span_has_the_fields_of_moleculer_s() {
    let (tracer, kept) =
        tracer(Tracing { default_tags: map(json!({"zone": "a"})), ..Tracing::default() });
    let service = Service { name: "posts".into(), version: json!(2), full_name: "v2.posts".into() };
    let span = tracer.start_span(
        "work",
        SpanOptions {
            service: Some(service),
            tags: map(json!({"n": 1})),
            ..SpanOptions::default()
        },
    );
    let part = span.start_span("part", SpanOptions::default());
    part.log("half", map(json!({"of": 2}))).unwrap();
    part.set_error(MoleculerError::client(404, "NO", "no").with_data(&json!({"id": 5})));
    part.finish();
    span.add_tags(map(json!({"n": 2}))).unwrap();
    span.finish();
    span.finish();
    let kept = kept.0.lock();
    assert_eq!(kept.len(), 2, "a span ends once");
    let (part, span) = (&kept[0], &kept[1]);
    assert_eq!(part["parentID"], span["id"]);
    assert_eq!(part["traceID"], span["traceID"]);
    assert_eq!(part["service"], json!({"name": "posts", "fullName": "v2.posts", "version": 2}));
    assert_eq!(part["logs"][0]["fields"], json!({"of": 2}));
    let error = json!({"name": "MoleculerClientError", "message": "no", "code": 404, "type": "NO", "data": {"id": 5}});
    assert_eq!(part["error"], error);
    assert_eq!(span["tags"], json!({"zone": "a", "n": 2}));
    assert_eq!(
        (&span["type"], &span["priority"], &span["error"]),
        (&json!("custom"), &json!(5.0), &Value::Null)
    );
    let took = span["finishTime"].as_f64().unwrap() - span["startTime"].as_f64().unwrap();
    assert!((took - span["duration"].as_f64().unwrap()).abs() < 1.0);
}

#[test]
fn every_so_many_chains_are_sampled_and_parts_follow() {
    let sampling = Sampling { rate: 0.25, ..Sampling::default() };
    let (tracer, kept) = tracer(Tracing { sampling, ..Tracing::default() });
    let sampled: Vec<_> = (0..8)
        .map(|_| {
            let span = tracer.start_span("s", SpanOptions::default());
            span.start_span("part", SpanOptions::default()).finish();
            span.finish();
            span.sampled()
        })
        .collect();
    assert_eq!(sampled, [false, false, false, true, false, false, false, true]);
    assert_eq!(kept.0.lock().len(), 4);
}

#[test]
fn rate_priority_and_time_decide() {
    let now = clock::now();
    let decide = |sampling: Sampling, priority| Sampler::new(now).decide(&sampling, priority, now);
    assert!(decide(Sampling::default(), 5.0));
    assert!(!decide(Sampling { rate: 0.0, ..Sampling::default() }, 5.0));
    assert!(!decide(Sampling { min_priority: Some(6.0), ..Sampling::default() }, 5.0));
    assert!(decide(Sampling { min_priority: Some(6.0), ..Sampling::default() }, 6.0));
    let sampling = Sampling { traces_per_second: Some(2.0), ..Sampling::default() };
    let mut sampler = Sampler::new(now);
    let mut at = |ms| sampler.decide(&sampling, 5.0, now + Duration::from_millis(ms));
    let decided = [0, 500, 500, 1_000, 9_000, 9_000, 9_000].map(&mut at);
    assert_eq!(decided, [false, true, false, true, true, true, false]);
}

#[test]
fn what_a_guest_adds_is_bounded() {
    let (tracer, _) = tracer(Tracing::default());
    let span = tracer.start_span("s", SpanOptions::default());
    for _ in 0..100 {
        span.log("l", Map::new()).unwrap();
    }
    assert_eq!(span.log("l", Map::new()), Err(Refused::TooMany));
    let large = map(json!({"text": "x".repeat(200 << 10)}));
    span.add_tags(large.clone()).unwrap();
    assert_eq!(span.add_tags(large), Err(Refused::TooLarge { max: 256 << 10 }));
}
