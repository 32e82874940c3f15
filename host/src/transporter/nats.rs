//! NATS (moleculer: src/transporters/nats.js): plain subscriptions without queue groups, no headers, no
//! reply subjects, at most once.
//!
//! The connection is async-nats' own task: it reads, writes and reconnects for ever with a bounded
//! back-off, and flushes whenever it has nothing more to write, so that packets which are sent together
//! travel together. Each subscription is read by a task of its own: a flood of requests delays neither
//! responses nor heartbeats. Moleculer's client hides reconnects; here they are told, so that the node can
//! announce itself again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;

use crate::task::{self, CancellationToken};
use crate::transporter::{Error, Event, Listener, Transporter};
use crate::uid;

/// Messages that wait in one subscription. Beyond it the client drops messages (a slow consumer). It holds
/// several seconds of the highest load measured.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// Commands that wait for the connection's task; beyond it, publishing waits.
const SEND_CAPACITY: usize = 4_096;

/// Longest pause between two attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// How often the server is asked whether it is alive; a second question without an answer ends the
/// connection. Half of it is the usual time to notice a dead network, well below the heartbeat time-out.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to a NATS server or cluster.
pub struct Nats {
    servers: Vec<ServerAddr>,
    auth: Auth,
    /// Servers without credentials, for people.
    address: String,
    /// Shown by the server's monitoring.
    client_name: String,
    link: ArcSwapOption<Link>,
}

/// What the first URL with credentials says.
#[derive(Clone, PartialEq, Eq)]
enum Auth {
    None,
    Token(String),
    Password { user: String, password: String },
}

struct Link {
    client: Client,
    listener: Arc<dyn Listener>,
    /// Ends the read loops.
    cancel: CancellationToken,
}

impl Link {
    /// Asks the client rather than counting its events, of which it drops some when they come in floods.
    fn connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

impl Nats {
    /// A transporter for these servers (`nats://[user:password@]host[:port]`, each possibly a list with
    /// commas). `client_name` is how the server knows the connection.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(urls: &[String], client_name: &str) -> Result<Self, Error> {
        let mut servers = Vec::new();
        let mut auth = Auth::None;
        for url in urls.iter().flat_map(|urls| urls.split(',')).map(str::trim) {
            let (server, own_auth) = parse_url(url)?;
            servers.push(server);
            if auth == Auth::None {
                auth = own_auth;
            }
        }
        if servers.is_empty() {
            return Err(Error::Address { address: String::new(), cause: "it is empty".into() });
        }
        let shown: Vec<_> = servers.iter().map(|server| server.as_url_str().to_owned()).collect();
        Ok(Self {
            servers,
            auth,
            address: shown.join(", "),
            client_name: client_name.to_owned(),
            link: ArcSwapOption::empty(),
        })
    }

    fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .name(&self.client_name)
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .client_capacity(SEND_CAPACITY)
            .reconnect_delay_callback(reconnect_delay)
            // Topics are made of checked node IDs and a fixed prefix.
            .skip_subject_validation(true);
        match self.auth.clone() {
            Auth::None => options,
            Auth::Token(token) => options.token(token),
            Auth::Password { user, password } => options.user_and_password(user, password),
        }
    }

    fn connected_link(&self) -> Result<Arc<Link>, Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        if link.connected() { Ok(link) } else { Err(Error::NotConnected) }
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let events = EventFilter::new(Arc::clone(&listener));
        let options = self.options().event_callback(move |event| {
            events.handle(event);
            std::future::ready(())
        });
        let client =
            async_nats::connect_with_options(&*self.servers, options).await.map_err(|error| {
                Error::Connect { address: self.address.clone(), cause: chain_text(&error) }
            })?;
        let cancel = CancellationToken::new();
        self.link.store(Some(Arc::new(Link { client, listener, cancel })));
        Ok(())
    }

    async fn try_subscribe(&self, topics: Vec<String>) -> Result<(), Error> {
        let link = self.connected_link()?;
        let refused = |error: &dyn std::error::Error| Error::Refused(chain_text(error));
        for topic in topics {
            let subscriber = link.client.subscribe(topic).await.map_err(|error| refused(&error))?;
            let read = read_loop(subscriber, Arc::clone(&link.listener));
            task::spawn("nats subscription", &link.cancel, read);
        }
        // A server handles what one connection sends in its order: once the subscriptions are written,
        // they are in force for everything that is published later.
        link.client.flush().await.map_err(|error| refused(&error))
    }

    async fn try_publish(&self, topic: &str, data: Bytes) -> Result<(), Error> {
        let link = self.connected_link()?;
        let size = data.len();
        let sent = link.client.publish(topic.to_owned(), data).await;
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                Error::PayloadTooLarge { limit: link.client.max_payload(), size }
            }
            _ => Error::Refused(chain_text(&error)),
        })
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        if link.connected() {
            // A server that does not take the rest in time does not get it.
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, link.client.flush()).await;
        }
        link.cancel.cancel();
    }
}

impl Transporter for Nats {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_subscribe(topics).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        self.try_publish(topic, data).boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

/// Hands messages on until the subscription is dropped or the task cancelled.
async fn read_loop(mut subscriber: Subscriber, listener: Arc<dyn Listener>) {
    while let Some(message) = subscriber.next().await {
        listener.handle_message(&message.subject, message.payload);
    }
}

/// Turns the client's events into ours. The first `Connected` belongs to `connect` itself and is not told.
struct EventFilter {
    listener: Arc<dyn Listener>,
    /// False between the loss of the connection and its recovery.
    connected: AtomicBool,
    /// What was reported last since the loss: every failed attempt to reconnect reports the same again.
    last_trouble: Mutex<String>,
}

impl EventFilter {
    fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, connected: AtomicBool::new(true), last_trouble: Mutex::default() }
    }

    fn handle(&self, event: async_nats::Event) {
        let event = match event {
            async_nats::Event::Connected => {
                if self.connected.swap(true, Ordering::AcqRel) {
                    return;
                }
                self.last_trouble.lock().clear();
                Event::Reconnected
            }
            async_nats::Event::Disconnected => {
                if !self.connected.swap(false, Ordering::AcqRel) {
                    return;
                }
                Event::Disconnected
            }
            async_nats::Event::SlowConsumer(_) => Event::SlowConsumer,
            async_nats::Event::Draining | async_nats::Event::Closed => return,
            other => {
                let trouble = other.to_string();
                let known = std::mem::replace(&mut *self.last_trouble.lock(), trouble.clone());
                if known == trouble && !self.connected.load(Ordering::Acquire) {
                    return;
                }
                Event::Trouble(trouble)
            }
        };
        self.listener.handle_event(event);
    }
}

/// At once, then 50 ms, doubling up to the longest pause, with up to a tenth of jitter so that the nodes
/// of a mesh do not all come back in the same moment.
fn reconnect_delay(attempt: usize) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempt - 2).unwrap_or(u32::MAX).min(10);
    let delay = Duration::from_millis(50 << doublings).min(RECONNECT_DELAY_MAX);
    let jitter_ms = usize::try_from(delay.as_millis() / 10).unwrap_or(0);
    delay + Duration::from_millis(uid::random_below(jitter_ms + 1).try_into().unwrap_or(0))
}

/// Splits a URL into an address without credentials and the credentials. No error shows the latter.
fn parse_url(url: &str) -> Result<(ServerAddr, Auth), Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let (credentials, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    let address = format!("{scheme}://{host}");
    let refused = |cause: &str| Error::Address { address: address.clone(), cause: cause.into() };
    if !matches!(scheme, "nats" | "tls") {
        return Err(refused("the scheme must be nats or tls"));
    }
    if host.is_empty() {
        return Err(refused("the host is missing"));
    }
    let server: ServerAddr =
        address.parse().map_err(|error: std::io::Error| refused(&error.to_string()))?;
    let auth = match credentials.split_once(':') {
        Some((user, password)) => {
            Auth::Password { user: percent_decoded(user), password: percent_decoded(password) }
        }
        None if credentials.is_empty() => Auth::None,
        None => Auth::Token(percent_decoded(credentials)),
    };
    Ok((server, auth))
}

/// Undoes the escapes that a URL needs for characters such as `@`; what is no escape stays.
fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let decoded = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (decoded, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error and its causes in one line, each said once.
fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nats(url: &str) -> Result<Nats, Error> {
        Nats::new(&[url.to_owned()], "test")
    }

    #[test]
    fn credentials_come_from_the_first_url_that_has_them_and_are_never_shown() {
        let check = |url: &str, address: &str, auth: Auth| {
            let nats = nats(url).unwrap();
            assert_eq!(nats.address(), address, "{url}");
            assert!(nats.auth == auth, "{url}");
        };
        let password = |user: &str, password: &str| Auth::Password {
            user: user.into(),
            password: password.into(),
        };
        check("localhost:4222", "nats://localhost:4222", Auth::None);
        check("nats://u:p%40ss@h:1", "nats://h:1", password("u", "p@ss"));
        check("nats://tok@h", "nats://h", Auth::Token("tok".into()));
        check("nats://a:1, nats://x:y@b:2", "nats://a:1, nats://b:2", password("x", "y"));
        check("nats://u:100%@h:1", "nats://h:1", password("u", "100%"));
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_at_once() {
        for bad in ["", "nats://", "http://h", "nats://u:secret@", "nats://h:x"] {
            let Err(error) = nats(bad) else { panic!("{bad} was accepted") };
            assert!(matches!(error, Error::Address { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(Nats::new(&[], "test").is_err());
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Listener for Heard {
        fn handle_message(&self, _topic: &str, _data: Bytes) {}

        fn handle_event(&self, event: Event) {
            self.0.lock().push(event);
        }
    }

    #[test]
    fn a_loss_and_a_recovery_are_told_once_and_failed_attempts_do_not_repeat_themselves() {
        use async_nats::{ClientError, Event as Nats};
        let heard = Arc::new(Heard::default());
        let filter = EventFilter::new(heard.clone());
        let trouble = || Nats::ClientError(ClientError::Other("refused".into()));
        for event in [Nats::Connected, Nats::Disconnected, trouble(), trouble(), Nats::Connected] {
            filter.handle(event);
        }
        filter.handle(Nats::SlowConsumer(1));
        let expected = [Event::Disconnected, Event::Trouble(trouble().to_string())];
        let expected: Vec<_> =
            expected.into_iter().chain([Event::Reconnected, Event::SlowConsumer]).collect();
        assert_eq!(*heard.0.lock(), expected);
    }

    #[test]
    fn the_pause_between_attempts_is_bounded() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        assert!(reconnect_delay(2) >= Duration::from_millis(50));
        assert!(reconnect_delay(usize::MAX) <= RECONNECT_DELAY_MAX * 11 / 10);
    }
}
