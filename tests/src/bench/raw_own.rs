//! Requests over NATS with nothing but the client that our transporter is: what the transport itself allows to
//! the same client library.
//!
//! A message is the number of its request and then what is sent; topics stand for subjects.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use isomer_host::transporter::{Attempt, Event, Listener, Nats, Transporter as _};
use isomer_host::{clock, task};

use crate::bench::PAYLOAD;
use crate::wait;

/// Where the echo listens.
const QUESTIONS: &str = "bench.own.echo";

/// Where the requester listens.
const ANSWERS: &str = "bench.own.answer";

/// Sends; waits only while the connection's buffer is full, as calls do.
async fn send(nats: &Nats, topic: &str, data: Bytes) {
    match nats.try_publish(topic, data) {
        Attempt::Done(done) => done.unwrap(),
        Attempt::MustWait(data) => nats.publish(topic, data).await.unwrap(),
    }
}

async fn connect(url: &str, listener: Arc<dyn Listener>, topic: &str) -> Arc<Nats> {
    let nats = Arc::new(Nats::new(&[url.to_owned()], "bench").unwrap());
    nats.connect(listener).await.unwrap();
    nats.subscribe(vec![topic.to_owned()]).await.unwrap();
    nats
}

/// Answers that wait for room; more than there are requests in flight.
const WAITING: usize = 4_096;

/// Sends every question back.
struct Echo {
    nats: OnceLock<Arc<Nats>>,
    waiting: mpsc::Sender<Bytes>,
}

impl Listener for Echo {
    fn handle_message(&self, _topic: &str, data: Bytes) {
        // A question that comes before this is known is asked again.
        let Some(nats) = self.nats.get() else { return };
        match nats.try_publish(ANSWERS, data) {
            Attempt::Done(done) => done.unwrap(),
            Attempt::MustWait(data) => self.waiting.try_send(data).unwrap(),
        }
    }

    fn handle_event(&self, _event: Event) {}
}

/// Answers every request with what it brought, until this is dropped.
///
/// # Panics
/// When there is no server.
pub(super) async fn respond(url: &str) {
    let (waiting, mut answers) = mpsc::channel(WAITING);
    let echo = Arc::new(Echo { nats: OnceLock::new(), waiting });
    let nats = connect(url, Arc::clone(&echo) as Arc<dyn Listener>, QUESTIONS).await;
    let nats = echo.nats.get_or_init(|| nats);
    while let Some(answer) = answers.recv().await {
        nats.publish(ANSWERS, answer).await.unwrap();
    }
}

/// What waits for its answer.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u64, oneshot::Sender<Bytes>>>);

impl Listener for Waiting {
    fn handle_message(&self, _topic: &str, mut data: Bytes) {
        let waiting = self.0.lock().remove(&data.get_u64());
        if let Some(waiting) = waiting {
            // Nobody waits any more for what comes late.
            let _ = waiting.send(data);
        }
    }

    fn handle_event(&self, _event: Event) {}
}

/// A client of the echo.
#[derive(Clone)]
pub(super) struct Requester(Arc<Inner>);

struct Inner {
    nats: Arc<Nats>,
    waiting: Arc<Waiting>,
    last: AtomicU64,
}

impl Requester {
    /// Connects, and waits until the echo answers.
    pub(super) async fn connect(url: &str) -> Self {
        let waiting = Arc::new(Waiting::default());
        let nats = connect(url, Arc::clone(&waiting) as Arc<dyn Listener>, ANSWERS).await;
        let requester = Self(Arc::new(Inner { nats, waiting, last: AtomicU64::new(0) }));
        let payload = Bytes::from_static(PAYLOAD.as_bytes());
        wait::until("the echo over our client", || async {
            let answer = requester.echo(&payload);
            tokio::time::timeout(Duration::from_millis(100), answer).await.ok()
        })
        .await;
        requester
    }

    /// Calls per second with `parallel` in flight.
    pub(super) async fn load(&self, parallel: usize, slice: Duration, payload: &Bytes) -> f64 {
        let start = clock::now();
        let end = start + slice;
        let workers: Vec<AbortOnDropHandle<u32>> = (0..parallel)
            .map(|_| {
                let (client, payload) = (self.clone(), payload.clone());
                task::run(async move {
                    let mut calls = 0;
                    while clock::now() < end {
                        assert_eq!(client.echo(&payload).await.len(), payload.len());
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let calls: u32 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
        f64::from(calls) / start.elapsed().as_secs_f64()
    }

    async fn echo(&self, payload: &Bytes) -> Bytes {
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        self.0.waiting.0.lock().insert(number, tx);
        let mut data = BytesMut::with_capacity(8 + payload.len());
        data.put_u64(number);
        data.extend_from_slice(payload);
        send(&self.0.nats, QUESTIONS, data.freeze()).await;
        rx.await.unwrap()
    }
}
