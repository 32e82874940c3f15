//! Keeps the connection to Redis: makes it, notices when it is gone, makes it again.
//!
//! A request never waits for a connection. One that fails because of the connection, or has no answer in
//! time, ends it for everybody; from then on requests fail at once until [`Link::keep`] has made a new one.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, cmd};
use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::backoff;
use crate::redis::Error;
use crate::redis::connection::{Client, Connection, Server};

/// Most time for one answer, and for making a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest pause between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// A connection that may be away.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    ping_interval: Option<Duration>,
    connection: ArcSwapOption<Connection>,
    /// Why the last connection ended; counts as news when it is set.
    lost: watch::Sender<Option<Loss>>,
}

/// What happens to a connection.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is there.
    Connected,
    /// It cannot be made, or is lost.
    Lost(Loss),
}

/// Why a connection ended.
#[derive(Clone, Debug)]
pub struct Loss {
    /// For a person.
    pub reason: String,
    /// Moleculer's word for what was being done.
    pub kind: &'static str,
}

impl Loss {
    // moleculer: src/constants.js
    fn of_client(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), kind: "clientError" }
    }
}

impl Link {
    /// A link that is not connected as long as [`Link::keep`] does not run.
    #[must_use]
    pub fn new(client: Client, ping_interval: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            client,
            ping_interval: ping_interval.filter(|interval| !interval.is_zero()),
            connection: ArcSwapOption::empty(),
            lost: watch::Sender::new(None),
        }))
    }

    /// Whether questions can be asked now.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.0.connection.load().is_some()
    }

    /// Connects, and connects again, for ever. An outage is told once.
    pub async fn keep(self, told: impl Fn(Change) + Send + Sync) {
        self.0.keep(&told).await;
    }

    /// Sends a command.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Lost`] or [`Error::Failed`].
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.with(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Sends several commands at once.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Lost`] or [`Error::Failed`].
    pub async fn ask_all<T: FromRedisValue>(&self, all: &Pipeline) -> Result<T, Error> {
        self.with(async |mut connection| all.query_async(&mut connection).await).await
    }

    /// The servers that have keys of their own.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Lost`] or [`Error::Failed`].
    pub async fn servers(&self) -> Result<Vec<Server>, Error> {
        self.with(async |mut connection| connection.servers().await).await
    }

    /// Sends a command to one of [`Link::servers`].
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Lost`] or [`Error::Failed`].
    pub async fn ask_at<T: FromRedisValue>(
        &self,
        server: &Server,
        command: Cmd,
    ) -> Result<T, Error> {
        self.with(async |mut connection| {
            let value = connection.ask_at(server, command).await?;
            Ok(::redis::from_redis_value(value)?)
        })
        .await
    }

    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let connection = self.0.connection.load_full().ok_or(Error::Away)?;
        let error = match tokio::time::timeout(ANSWER_TIMEOUT, work((*connection).clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if ends_connection(&error) => error.to_string(),
            Ok(Err(error)) => return Err(Error::Failed { reason: error.to_string() }),
            Err(_) => format!("no answer within {ANSWER_TIMEOUT:?}"),
        };
        self.0.lose(&connection, Loss::of_client(&error));
        Err(Error::Lost { reason: error })
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

    async fn keep(&self, told: &(dyn Fn(Change) + Send + Sync)) {
        let mut attempt = 0;
        let mut reported = false;
        loop {
            tokio::time::sleep(backoff::delay(attempt, RETRY_MAX)).await;
            attempt += 1;
            let loss = match self.connect().await {
                Ok(connection) => {
                    (attempt, reported) = (0, false);
                    self.until_lost(connection, told).await
                }
                Err(loss) => loss,
            };
            if !reported {
                reported = true;
                told(Change::Lost(loss));
            }
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
    async fn until_lost(
        &self,
        connection: Connection,
        told: &(dyn Fn(Change) + Send + Sync),
    ) -> Loss {
        let mut lost = self.lost.subscribe();
        lost.mark_unchanged();
        let connection = Arc::new(connection);
        self.connection.store(Some(Arc::clone(&connection)));
        told(Change::Connected);
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
