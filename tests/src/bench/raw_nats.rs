//! Requests over NATS with nothing but async-nats: what the transport itself allows to a client that is in general use.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use isomer_host::{clock, task};

use crate::bench::{PAYLOAD, raw_own};
use crate::process::Process;
use crate::wait;

/// Where the echo listens.
const SUBJECT: &str = "bench.raw.echo";

/// The first argument of a program that is to be the echoes; the second is the address of the server.
pub const ECHO_ARGUMENT: &str = "echo";

/// Where the echo runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// As a task of this process.
    Here,
    /// In a process of this program, which takes [`ECHO_ARGUMENT`].
    Program(PathBuf),
}

/// An echo that runs until this is dropped.
#[derive(Debug)]
pub enum Echo {
    /// In this process.
    Task(AbortOnDropHandle<()>),
    /// In its own.
    Process(Box<Process>),
}

impl Echo {
    /// Starts an echo. It serves when it answers.
    #[must_use]
    pub fn start(place: &Place, url: &str) -> Self {
        match place {
            Place::Here => {
                let url = url.to_owned();
                Self::Task(task::run(async move { respond(&url).await }))
            }
            Place::Program(program) => {
                let mut command = Command::new(program);
                command.args([ECHO_ARGUMENT, url]);
                Self::Process(Box::new(Process::spawn("the raw echo", &mut command)))
            }
        }
    }
}

/// Answers every request with what it brought, over both clients, until the connection ends.
///
/// # Panics
/// When there is no server.
pub async fn respond(url: &str) {
    tokio::join!(answer(url), raw_own::respond(url));
}

async fn answer(url: &str) {
    let client = async_nats::connect(url).await.unwrap();
    let mut requests: Subscriber = client.subscribe(SUBJECT).await.unwrap();
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await.unwrap();
        }
    }
}

/// A client of the echo.
#[derive(Clone, Debug)]
pub struct Requester(Client);

impl Requester {
    /// Connects, and waits until the echo answers.
    pub async fn connect(url: &str) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let payload = Bytes::from_static(PAYLOAD.as_bytes());
        wait::until("the echo over NATS", || async { echo(&client, &payload).await.ok() }).await;
        Self(client)
    }

    /// Calls per second with `parallel` in flight.
    pub async fn load(&self, parallel: usize, slice: Duration, payload: &Bytes) -> f64 {
        let start = clock::now();
        let end = start + slice;
        let workers: Vec<AbortOnDropHandle<u32>> = (0..parallel)
            .map(|_| {
                let (client, payload) = (self.0.clone(), payload.clone());
                task::run(async move {
                    let mut calls = 0;
                    while clock::now() < end {
                        assert_eq!(echo(&client, &payload).await.unwrap().len(), payload.len());
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let calls: u32 = join_all(workers).await.into_iter().map(Result::unwrap).sum();
        f64::from(calls) / start.elapsed().as_secs_f64()
    }
}

async fn echo(client: &Client, payload: &Bytes) -> Result<Bytes, async_nats::RequestError> {
    let answer = client.request(SUBJECT, payload.clone()).await?;
    Ok(answer.payload)
}
