//! A server that takes figures or spans by HTTP: one connection, a time limit for each request, one line in the
//! log for each outage and not for each request.
//!
//! Not here: what is sent, what becomes of what was not taken, and when it is tried again.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::clock;
use crate::config::HttpUrl;
use crate::http::{Answer, Connection, Post};

/// How long a server may take to be reached and to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer, in bytes; nobody reads more of it than its first line.
const ANSWER_MAX: usize = 64 << 10;

/// Longest text of a server that is shown.
const REASON_MAX: usize = 200;

/// A server.
pub(super) struct Delivery {
    /// As an operator knows it, with what it gets: `spans cannot be sent to Zipkin`.
    what: &'static str,
    server: &'static str,
    url: HttpUrl,
    headers: HeaderMap,
    content_type: &'static str,
    kept: Option<Connection>,
    failing: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has it.
    Taken,
    /// The server does not want it, now or later.
    Refused,
    /// The server is not there, or has too much to do.
    Away,
}

impl Delivery {
    /// A server that is not reached yet; `what` it gets in the form of `content_type`. Headers that are none are
    /// left out; the options have been checked.
    pub(super) fn new(
        what: &'static str,
        server: &'static str,
        url: HttpUrl,
        headers: &[(String, String)],
        content_type: &'static str,
    ) -> Self {
        let header = |(name, value): &(String, String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        let headers = headers.iter().filter_map(header).collect();
        Self { what, server, url, headers, content_type, kept: None, failing: false }
    }

    /// Sends one request.
    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        let answer = clock::within(clock::now() + TIMEOUT, Box::pin(self.post(body))).await;
        match answer.unwrap_or_else(|| Err(format!("no answer within {TIMEOUT:?}"))) {
            Err(reason) => {
                self.complain(&reason, "what does not fit until it is back is dropped");
                Outcome::Away
            }
            Ok(answer) if answer.status.is_success() => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(
                        "{} are sent to {} at {} again",
                        self.what,
                        self.server,
                        self.url
                    );
                }
                Outcome::Taken
            }
            Ok(answer) => {
                let later = answer.status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS]
                        .contains(&answer.status);
                let text = String::from_utf8_lossy(&answer.body);
                let reason: String =
                    text.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
                let end = if later { "it is tried again" } else { "look at its address and key" };
                self.complain(&format!("it answers {} {reason}", answer.status), end);
                if later { Outcome::Away } else { Outcome::Refused }
            }
        }
    }

    fn complain(&mut self, reason: &str, end: &str) {
        let (what, server, url) = (self.what, self.server, &self.url);
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(reason, "{what} cannot be sent to {server} at {url}");
        } else {
            tracing::warn!(reason, "{what} cannot be sent to {server} at {url}; {end}");
        }
    }

    async fn post(&mut self, body: Bytes) -> Result<Answer, String> {
        // One that was kept may have been closed meanwhile, so a failure on it says nothing.
        if let Some(kept) = self.kept.take()
            && let Ok(answer) = self.post_on(kept, body.clone()).await
        {
            return Ok(answer);
        }
        let connection = Connection::open(&self.url).await?;
        self.post_on(connection, body).await
    }

    async fn post_on(&mut self, connection: Connection, body: Bytes) -> Result<Answer, String> {
        let (path, headers, content_type) = (self.url.path(), &self.headers, self.content_type);
        let post = Post { path, headers, content_type, body, answer_max: ANSWER_MAX };
        let (answer, again) = connection.post(post).await?;
        self.kept = again;
        Ok(answer)
    }
}
