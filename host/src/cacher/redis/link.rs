//! Keeps the connection to Redis: makes it, notices when it is gone, makes it again.
//!
//! A request never waits for a connection. One that fails because of the connection, or has no answer in
//! time, ends it for everybody; from then on requests fail at once, so that calls go past the cacher, until
//! the task of this file has made a new one. An outage is one warning and one `$cacher.error`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, cmd};
use serde_json::json;
use tokio::sync::watch;

use super::connection::{Client, Connection, Server};
use crate::cacher::{Error, LocalEvent, Surroundings};
use crate::task;
use crate::uid;

/// Most time for one answer, and for making a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// First and longest time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A connection that may be away.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    ping_interval: Option<Duration>,
    connection: ArcSwapOption<Connection>,
    /// Why the last connection ended; counts as news when it is set.
    lost: watch::Sender<Option<Loss>>,
}

/// Why a connection ended.
#[derive(Clone)]
struct Loss {
    reason: String,
    /// Moleculer's word for what was being done.
    kind: &'static str,
}

impl Loss {
    // moleculer: src/constants.js
    fn of_client(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), kind: "clientError" }
    }
}

impl Link {
    pub(super) fn new(client: Client, ping_interval: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            client,
            ping_interval: ping_interval.filter(|interval| !interval.is_zero()),
            connection: ArcSwapOption::empty(),
            lost: watch::Sender::new(None),
        }))
    }

    pub(super) fn connected(&self) -> bool {
        self.0.connection.load().is_some()
    }

    /// Begins to connect. The task ends with the broker.
    pub(super) fn start(&self, surroundings: Surroundings) {
        let inner = Arc::clone(&self.0);
        let local_event = surroundings.local_event;
        task::spawn("cacher connection", &surroundings.cancel, async move {
            inner.keep(&local_event).await;
        });
    }

    /// Sends a command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.with(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends several commands at once.
    pub(super) async fn ask_all<T: FromRedisValue>(&self, all: &Pipeline) -> Result<T, Error> {
        self.with(async |mut connection| all.query_async(&mut connection).await).await
    }

    /// The servers that have keys of their own.
    pub(super) async fn servers(&self) -> Result<Vec<Server>, Error> {
        self.with(async |mut connection| connection.servers().await).await
    }

    /// Sends a command to one of [`Link::servers`].
    pub(super) async fn ask_at<T: FromRedisValue>(
        &self,
        server: &Server,
        command: Cmd,
    ) -> Result<T, Error> {
        self.with(async |mut connection| {
            let value = connection.ask_at(server, command).await?;
            Ok(redis::from_redis_value(value)?)
        })
        .await
    }

    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let connection = self.0.connection.load_full().ok_or(Error::Disconnected)?;
        let error = match tokio::time::timeout(ANSWER_TIMEOUT, work((*connection).clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if ends_connection(&error) => error.to_string(),
            Ok(Err(error)) => return Err(Error::Store { reason: error.to_string() }),
            Err(_) => format!("no answer within {ANSWER_TIMEOUT:?}"),
        };
        self.0.lose(&connection, Loss::of_client(&error));
        Err(Error::Store { reason: error })
    }
}

fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.is_connection_dropped()
}

impl Inner {
    /// Ends a connection, unless that has happened already.
    fn lose(&self, connection: &Arc<Connection>, loss: Loss) {
        let current = self.connection.compare_and_swap(connection, None);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            self.lost.send_replace(Some(loss));
        }
    }

    async fn keep(&self, local_event: &LocalEvent) {
        let mut retry = RETRY;
        let mut reported = false;
        loop {
            let loss = match self.connect().await {
                Ok(connection) => {
                    tracing::info!("the cacher is connected");
                    (retry, reported) = (RETRY, false);
                    self.until_lost(connection).await
                }
                Err(loss) => loss,
            };
            if !reported {
                reported = true;
                report(local_event, &loss);
            }
            tokio::time::sleep(retry + jitter(retry)).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    /// A connection on which the server has answered.
    async fn connect(&self) -> Result<Connection, Loss> {
        let connect = async {
            let mut connection = self.client.connect().await?;
            cmd("PING").query_async::<()>(&mut connection).await?;
            RedisResult::Ok(connection)
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(Loss::of_client),
            Err(_) => Err(Loss::of_client(format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }

    /// Offers a connection to all requests until one of them, or a ping, has found it broken.
    async fn until_lost(&self, connection: Connection) -> Loss {
        let mut lost = self.lost.subscribe();
        lost.mark_unchanged();
        let connection = Arc::new(connection);
        self.connection.store(Some(Arc::clone(&connection)));
        let pings = async {
            let Some(interval) = self.ping_interval else { return std::future::pending().await };
            loop {
                tokio::time::sleep(interval).await;
                let mut pinged = (*connection).clone();
                let ping = cmd("PING");
                let answer = ping.query_async::<()>(&mut pinged);
                match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return format!("no answer within {ANSWER_TIMEOUT:?}"),
                }
            }
        };
        tokio::select! {
            // The sender is a field of this value, so it is there.
            _ = lost.changed() => {}
            reason = pings => self.lose(&connection, Loss { reason, kind: "failedSendPing" }),
        }
        let loss = lost.borrow().clone();
        loss.unwrap_or_else(|| Loss::of_client("the connection was closed"))
    }
}

/// Up to a quarter more, so that the nodes of a mesh do not all come back at once.
fn jitter(wait: Duration) -> Duration {
    let quarter_ms = usize::try_from(wait.as_millis() / 4).unwrap_or(0);
    Duration::from_millis(u64::try_from(uid::random_below(quarter_ms + 1)).unwrap_or(0))
}

// moleculer: src/cachers/redis.js init
fn report(local_event: &LocalEvent, loss: &Loss) {
    tracing::warn!(reason = loss.reason, "the cacher is away; calls go past it until it is back");
    let error = json!({"name": "Error", "message": loss.reason});
    local_event("$cacher.error", json!({"error": error, "module": "cacher", "type": loss.kind}));
}
