//! The client against servers of the tests: those that behave, those that go away and those that lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::Nats;
use crate::transporter::{Error, Event, Listener, Transporter as _};

/// A server that does only what a test makes it do.
struct Server(TcpListener);

/// Its side of one connection.
struct Peer(BufReader<TcpStream>);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("nats://{}", self.0.local_addr().unwrap())
    }

    async fn accept(&self, first: &str) -> Peer {
        let mut peer = Peer(BufReader::new(self.0.accept().await.unwrap().0));
        peer.say(first).await;
        peer
    }

    /// Accepts a client and its first words.
    async fn welcome(&self, info: &str) -> Peer {
        let mut peer = self.accept(&format!("INFO {info}\r\n")).await;
        assert!(peer.line().await.starts_with("CONNECT {"));
        assert_eq!(peer.line().await, "PING");
        peer.say("PONG\r\n").await;
        peer
    }
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.strip_suffix("\r\n").unwrap().to_owned()
    }
}

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Event>>,
    messages: Mutex<Vec<(String, Bytes)>>,
    changed: Notify,
}

impl Listener for Heard {
    fn handle_message(&self, topic: &str, data: Bytes) {
        self.messages.lock().push((topic.to_owned(), data));
        self.changed.notify_one();
    }

    fn handle_event(&self, event: Event) {
        self.events.lock().push(event);
        self.changed.notify_one();
    }
}

impl Heard {
    async fn wait_for(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.changed.notified().await;
        }
    }
}

fn nats(url: &str) -> Nats {
    Nats::new(&[url.to_owned()], "test").unwrap()
}

/// A connected client and the server's side.
async fn connected(server: &Server, info: &str) -> (Nats, Peer, Arc<Heard>) {
    let (nats, heard) = (nats(&server.url()), Arc::new(Heard::default()));
    let (connected, peer) = tokio::join!(nats.connect(heard.clone()), server.welcome(info));
    connected.unwrap();
    (nats, peer, heard)
}

#[test]
fn credentials_come_from_the_first_url_that_has_them_and_are_never_shown() {
    let nats = nats("nats://a:1, nats://x:y@b:2");
    assert_eq!(nats.address(), "nats://a:1, nats://b:2");
    assert!(nats.auth == super::Auth::Password { user: "x".into(), password: "y".into() });
    assert!(Nats::new(&[], "test").is_err());
}

#[tokio::test]
async fn messages_go_out_and_come_in() {
    let server = Server::new().await;
    let (nats, mut peer, heard) = connected(&server, "{}").await;
    nats.subscribe(vec!["a.b".into(), "c".into()]).await.unwrap();
    nats.publish("x", Bytes::from_static(b"hello")).await.unwrap();
    for expected in ["SUB a.b 1", "SUB c 2", "PUB x 5", "hello"] {
        assert_eq!(peer.line().await, expected);
    }
    peer.say("MSG a.b 1 2\r\n{").await;
    peer.say("}\r\nPING\r\nMSG c 2 0\r\n\r\n").await;
    heard.wait_for(|heard| heard.messages.lock().len() == 2).await;
    let expected = [("a.b".to_owned(), Bytes::from_static(b"{}")), ("c".to_owned(), Bytes::new())];
    assert_eq!(*heard.messages.lock(), expected);
    assert_eq!(peer.line().await, "PONG");
}

#[tokio::test]
async fn a_loss_is_told_once_and_everything_is_said_again() {
    let server = Server::new().await;
    let (nats, mut peer, heard) = connected(&server, "{}").await;
    nats.subscribe(vec!["a".into()]).await.unwrap();
    assert_eq!(peer.line().await, "SUB a 1");
    drop(peer);
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert!(matches!(nats.publish("x", Bytes::new()).await.unwrap_err(), Error::NotConnected));
    // One that is refused, twice for the same reason, is told once.
    for _ in 0..2 {
        let mut peer = server.accept("INFO {}\r\n").await;
        peer.line().await;
        peer.say("-ERR 'Authorization Violation'\r\n").await;
    }
    let mut peer = server.welcome("{}").await;
    assert_eq!(peer.line().await, "SUB a 1");
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    nats.publish("x", Bytes::new()).await.unwrap();
    assert_eq!(peer.line().await, "PUB x 0");
    let trouble = |text: &str| Event::Trouble(text.into());
    let expected = [
        Event::Disconnected,
        trouble("the server closed the connection"),
        trouble("the server refuses: Authorization Violation"),
        Event::Reconnected,
    ];
    assert_eq!(*heard.events.lock(), expected);
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_does_not_work() {
    let (bad, good) = (Server::new().await, Server::new().await);
    let nats = nats(&format!("{},{}", bad.url(), good.url()));
    let refuse = async { drop(bad.accept("HTTP/1.1 400 Bad Request\r\n").await) };
    let listener = Arc::new(Heard::default());
    let (connected, (), _peer) = tokio::join!(nats.connect(listener), refuse, good.welcome("{}"));
    connected.unwrap();
}

#[tokio::test]
async fn a_failure_names_the_address_and_the_cause() {
    let check = async |first: &str, cause: &str| {
        let server = Server::new().await;
        let nats = nats(&server.url());
        let answer = async { drop(server.accept(first).await) };
        let (connected, ()) = tokio::join!(nats.connect(Arc::new(Heard::default())), answer);
        let text = connected.unwrap_err().to_string();
        assert!(text.contains(&server.url()) && text.contains(cause), "{text}");
    };
    check("", "closed the connection").await;
    check("HTTP/1.1 400\r\n", "not NATS").await;
    check("PING\r\n", "no INFO").await;
    check("INFO {\r\n", "not NATS").await;
    check("-ERR 'maximum connections exceeded'\r\n", "maximum connections exceeded").await;
    check("INFO {\"tls_required\":true}\r\nPING\r\n", "TLS").await;
}

#[tokio::test]
async fn a_message_that_the_server_would_not_take_is_refused_here() {
    let server = Server::new().await;
    let (nats, mut peer, _) = connected(&server, "{\"max_payload\":3}").await;
    nats.publish("x", Bytes::from_static(b"abc")).await.unwrap();
    let error = nats.publish("x", Bytes::from_static(b"abcd")).await.unwrap_err();
    assert!(matches!(error, Error::PayloadTooLarge { limit: 3, size: 4 }));
    assert_eq!((peer.line().await, peer.line().await), ("PUB x 3".into(), "abc".into()));
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    let server = Server::new().await;
    let (_nats, mut peer, heard) = connected(&server, "{}").await;
    peer.say("MSG a 1 99999999999\r\n").await;
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert_eq!(peer.0.read(&mut [0]).await.unwrap(), 0);
    let _again = server.welcome("{}").await;
}

#[tokio::test]
async fn words_of_the_server_are_passed_on() {
    let server = Server::new().await;
    let (_nats, mut peer, heard) = connected(&server, "{}").await;
    peer.say("-ERR 'Slow Consumer'\r\n-ERR 'Permissions Violation'\r\nINFO {\"ldm\":true}\r\n")
        .await;
    heard.wait_for(|heard| heard.events.lock().len() == 3).await;
    let events = heard.events.lock().clone();
    assert_eq!(events[..2], [Event::SlowConsumer, Event::Trouble("Permissions Violation".into())]);
    assert!(matches!(&events[2], Event::Trouble(text) if text.contains("lame duck")));
}

#[tokio::test]
async fn what_was_published_is_sent_before_the_connection_is_closed() {
    let server = Server::new().await;
    let (nats, mut peer, heard) = connected(&server, "{}").await;
    nats.publish("x", Bytes::new()).await.unwrap();
    let serve = async {
        for expected in ["PUB x 0", "", "PING"] {
            assert_eq!(peer.line().await, expected);
        }
        peer.say("PONG\r\n").await;
        peer.0.read(&mut [0]).await.unwrap()
    };
    let ((), rest) = tokio::join!(nats.disconnect(), serve);
    assert_eq!((rest, heard.events.lock().len()), (0, 0));
    assert!(nats.publish("x", Bytes::new()).await.is_err());
}

/// A server that reads nothing fills the buffer; publishing waits then, and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_read_makes_publishers_wait_and_loses_nothing() {
    const PUBLISHERS: usize = 200;
    let server = Server::new().await;
    let (nats, mut peer, _) = connected(&server, "{\"max_payload\":100000}").await;
    let (nats, sent) = (Arc::new(nats), Arc::new(AtomicUsize::new(0)));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (nats, sent) = (Arc::clone(&nats), Arc::clone(&sent));
            crate::task::run(async move {
                nats.publish("x", vec![b'.'; 100_000].into()).await.unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for _ in 0..PUBLISHERS {
        assert_eq!(peer.line().await, "PUB x 100000");
        assert_eq!(peer.line().await, ".".repeat(100_000));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(sent.load(Ordering::Relaxed), PUBLISHERS);
}

/// Many threads publish at once: nothing is lost, torn or out of each publisher's order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_on_many_threads_keep_their_own_order() {
    const PUBLISHERS: usize = 8;
    const MESSAGES: usize = 500;
    let server = Server::new().await;
    let (nats, mut peer, _) = connected(&server, "{}").await;
    let nats = Arc::new(nats);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let nats = Arc::clone(&nats);
            crate::task::run(async move {
                for n in 0..MESSAGES {
                    let data = format!("{publisher} {n}");
                    nats.publish("x", data.into()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut next = [0; PUBLISHERS];
    for _ in 0..PUBLISHERS * MESSAGES {
        assert!(peer.line().await.starts_with("PUB x "));
        let line = peer.line().await;
        let (publisher, n) = line.split_once(' ').unwrap();
        let publisher: usize = publisher.parse().unwrap();
        assert_eq!(n.parse(), Ok(next[publisher]));
        next[publisher] += 1;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}
