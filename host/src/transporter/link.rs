//! What connections to message brokers have in common: they are lost and made again for ever.
//!
//! One task owns a connection, reads it and hands on what comes in its read loop, so that no queue stands
//! between the socket and who listens. What is sent lies in a bounded [`Outbox`] until that task writes it.
//! Used by MQTT and AMQP; NATS has its own, which is made for more messages.

use std::sync::Arc;
use std::time::Duration;

use crate::backoff;
use crate::clock;
use crate::transporter::{Event, Listener};

mod outbox;
mod socket;

pub(super) use outbox::Outbox;
pub(super) use socket::{Socket, read_more};

/// Longest pause between two attempts to reconnect.
pub(super) const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Why there is no connection with a server, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server speaks something else.
    #[error("the server breaks the protocol: {0}")]
    Protocol(&'static str),
    /// The server's own words.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("the server does not answer")]
    Silent,
    /// TLS cannot be spoken with it.
    #[error("TLS: {0}")]
    Tls(String),
}

/// One side of a protocol.
pub(super) trait Client: Send {
    /// A connection that the server has accepted.
    type Session: Send;

    /// Tries each server once. The error is for a person.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Session, String>> + Send;

    /// Serves a connection until it is lost.
    fn serve(&mut self, session: Self::Session) -> impl Future<Output = Lost> + Send;

    /// Whom to tell.
    fn listener(&self) -> Arc<dyn Listener>;

    /// What is sent.
    fn outbox(&self) -> &Outbox;
}

/// A connection that was lost sooner counts as an attempt that failed.
pub(super) const SESSION_MIN: Duration = Duration::from_secs(5);

/// Serves a session and those that follow it, until the outbox is finished or the task is cancelled.
pub(super) async fn keep<C: Client>(mut client: C, mut session: C::Session) {
    let listener = client.listener();
    let mut attempt = 0;
    loop {
        let began = clock::now();
        let lost = client.serve(session).await;
        client.outbox().close();
        if client.outbox().finished() {
            return;
        }
        if began.elapsed() >= SESSION_MIN {
            attempt = 0;
        }
        let mut trouble = lost.to_string();
        listener.handle_event(Event::Disconnected);
        listener.handle_event(Event::Trouble(trouble.clone()));
        session = reconnect(&mut client, &*listener, &mut trouble, &mut attempt).await;
        listener.handle_event(Event::Reconnected);
    }
}

/// Tries until it works. The same trouble is told once.
async fn reconnect<C: Client>(
    client: &mut C,
    listener: &dyn Listener,
    last_trouble: &mut String,
    attempt: &mut u32,
) -> C::Session {
    loop {
        *attempt = attempt.saturating_add(1);
        tokio::time::sleep(backoff::delay(*attempt, RECONNECT_DELAY_MAX)).await;
        match client.connect().await {
            Ok(session) => return session,
            Err(trouble) if trouble == *last_trouble => {}
            Err(trouble) => {
                last_trouble.clone_from(&trouble);
                listener.handle_event(Event::Trouble(trouble));
            }
        }
    }
}

/// What several servers said, as one text.
pub(super) fn causes(causes: &[(String, Lost)]) -> String {
    match causes {
        [(_, lost)] => lost.to_string(),
        _ => {
            let causes: Vec<_> =
                causes.iter().map(|(server, lost)| format!("{server}: {lost}")).collect();
            causes.join("; ")
        }
    }
}
