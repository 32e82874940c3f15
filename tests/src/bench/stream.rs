//! Streams between two nodes, one after the other, in both directions.
//!
//! On our side the guest `kit` reads and writes them, in Moleculer JS an action does. Chunks have 64 KiB and
//! travel as JSON, which is what both send by default.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use isomer_host::broker::ServiceBroker;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use isomer_host::payload::stream::channel;
use isomer_host::{clock, task};

use crate::bench::Scale;
use crate::bench::remote::Mesh;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::broker::json;
use crate::streams::with_stream;

/// Bytes of a chunk, as `kit` and `tests/peers/bench/broker.js` have them.
const CHUNK_LEN: usize = 64 << 10;

/// Chunks of one stream.
const N_CHUNKS: usize = 32;

/// What may wait for the reader of our side.
const CAPACITY: usize = 1 << 20;

/// Both directions.
pub(super) async fn rows(scale: Scale, mesh: &Mesh) -> Vec<Row> {
    let [mut sent, mut js_sent, mut got, mut js_got] = [const { Sample::new() }; 4];
    let js = &mesh.js;
    for _ in 0..scale.rounds {
        sent.push(upload(&mesh.isomer, scale.slice).await);
        js_sent.push(js.stream("upload", "js.countBytes", N_CHUNKS, scale.slice).await);
        got.push(download(&mesh.isomer, scale.slice).await);
        js_got.push(js.stream("download", "js.giveBytes", N_CHUNKS, scale.slice).await);
    }
    let row = |what: &str, ours, beside| Row {
        what: format!("{what} over {}, chunks of 64 KiB", mesh.medium.name),
        unit: Unit::BytesPerSecond,
        ours,
        beside: Some(("Moleculer JS ↔ JS", beside)),
        target: mesh.medium.target.map(Target::RatioAtLeast),
    };
    vec![row("stream of a request", sent, js_sent), row("stream of an answer", got, js_got)]
}

/// Bytes per second that are sent with calls.
async fn upload(broker: &ServiceBroker, slice: Duration) -> f64 {
    let broker = broker.clone();
    let chunk = Bytes::from_iter((0..=u8::MAX).cycle().take(CHUNK_LEN));
    let streams = async move {
        let start = clock::now();
        let mut n_bytes = 0;
        while start.elapsed() < slice {
            let (writer, stream) = channel(false, CAPACITY);
            let chunk = chunk.clone();
            let writing = task::run(async move {
                for _ in 0..N_CHUNKS {
                    writer.write(Payload::Bytes(chunk.clone())).await.unwrap();
                }
                writer.end();
            });
            let call = broker.call("kit.countBytes", Payload::empty_object(), with_stream(stream));
            let count: usize = call.await.unwrap().parse().unwrap();
            writing.await.unwrap();
            assert_eq!(count, N_CHUNKS * CHUNK_LEN);
            n_bytes += count;
        }
        per_second(n_bytes, start.elapsed())
    };
    task::run(streams).await.unwrap()
}

/// Bytes per second that calls are answered with.
async fn download(broker: &ServiceBroker, slice: Duration) -> f64 {
    let broker = broker.clone();
    let streams = async move {
        let start = clock::now();
        let mut n_bytes = 0;
        while start.elapsed() < slice {
            let params = json(&json!({"n": N_CHUNKS}));
            let answer = broker.call("kit.giveBytes", params, CallOptions::default()).await;
            let Payload::Stream(stream) = answer.unwrap() else { panic!("no stream") };
            let mut reader = stream.take().unwrap();
            let mut count = 0;
            while let Some(chunk) = reader.next().await.unwrap() {
                count += chunk.len();
            }
            assert_eq!(count, N_CHUNKS * CHUNK_LEN);
            n_bytes += count;
        }
        per_second(n_bytes, start.elapsed())
    };
    task::run(streams).await.unwrap()
}

fn per_second(n_bytes: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(n_bytes >> 10).unwrap()) * 1024.0 / time.as_secs_f64()
}
