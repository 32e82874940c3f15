//! The client against servers of the tests: those that behave, those that go away and those that lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::Redis;
use crate::transporter::{Error, Event, Listener, Transporter as _};

/// Largest message that is read in these tests.
const MESSAGE_MAX: usize = 100_000;

/// A server that does only what a test makes it do.
struct Server(TcpListener);

/// Its side of one connection.
struct Peer(BufReader<TcpStream>);

/// Its side of both connections.
struct Pair {
    publisher: Peer,
    subscriber: Peer,
}

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("redis://{}", self.0.local_addr().unwrap())
    }

    async fn accept(&self) -> Peer {
        Peer(BufReader::new(self.0.accept().await.unwrap().0))
    }

    /// Accepts both connections of a client and their first words.
    async fn welcome(&self) -> [Peer; 2] {
        let mut peers = [self.accept().await, self.accept().await];
        for peer in &mut peers {
            assert_eq!(peer.command().await, ["CLIENT", "SETNAME", "test"]);
            assert_eq!(peer.command().await, ["PING"]);
            peer.say("-ERR no names here\r\n+PONG\r\n").await;
        }
        peers
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

    async fn number(&mut self, kind: char) -> usize {
        self.line().await.strip_prefix(kind).unwrap().parse().unwrap()
    }

    async fn command(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..self.number('*').await {
            let mut word = vec![0; self.number('$').await + 2];
            self.0.read_exact(&mut word).await.unwrap();
            words.push(String::from_utf8(word).unwrap().strip_suffix("\r\n").unwrap().to_owned());
        }
        words
    }

    /// Sends a message of a channel.
    async fn message(&mut self, topic: &str, payload: &str) {
        let (n, m) = (topic.len(), payload.len());
        self.say(&format!("*3\r\n$7\r\nmessage\r\n${n}\r\n{topic}\r\n${m}\r\n{payload}\r\n")).await;
    }

    /// Confirms subscriptions.
    async fn confirm(&mut self, topics: &[&str]) {
        for (index, topic) in topics.iter().enumerate() {
            let (n, count) = (topic.len(), index + 1);
            self.say(&format!("*3\r\n$9\r\nsubscribe\r\n${n}\r\n{topic}\r\n:{count}\r\n")).await;
        }
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

fn redis(url: &str) -> Redis {
    Redis::new(&[url.to_owned()], MESSAGE_MAX, "test").unwrap()
}

/// A connected client that is subscribed to `a`, and the server's side.
async fn connected(server: &Server) -> (Arc<Redis>, Pair, Arc<Heard>) {
    let (redis, heard) = (Arc::new(redis(&server.url())), Arc::new(Heard::default()));
    let (connected, peers) = tokio::join!(redis.connect(heard.clone()), server.welcome());
    connected.unwrap();
    let subscribe = redis.subscribe(vec!["a".into()]);
    let (subscribed, pair) = tokio::join!(subscribe, confirmed(peers, &["a"]));
    subscribed.unwrap();
    (redis, pair, heard)
}

/// Finds out which connection is which by who subscribes, and confirms.
async fn confirmed([one, other]: [Peer; 2], topics: &[&str]) -> Pair {
    let (mut publisher, mut subscriber) = (one, other);
    let is_other = tokio::select! {
        _ = publisher.0.fill_buf() => false,
        _ = subscriber.0.fill_buf() => true,
    };
    if !is_other {
        std::mem::swap(&mut publisher, &mut subscriber);
    }
    let command = subscriber.command().await;
    assert_eq!(command[0], "SUBSCRIBE");
    assert_eq!(command[1..], *topics);
    subscriber.confirm(topics).await;
    Pair { publisher, subscriber }
}

#[tokio::test]
async fn messages_go_out_and_come_in() {
    let server = Server::new().await;
    let (redis, mut pair, heard) = connected(&server).await;
    redis.publish("x", Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(pair.publisher.command().await, ["PUBLISH", "x", "hello"]);
    pair.subscriber.message("a", "{}").await;
    pair.subscriber.message("a", "").await;
    heard.wait_for(|heard| heard.messages.lock().len() == 2).await;
    let expected = [("a".to_owned(), Bytes::from_static(b"{}")), ("a".to_owned(), Bytes::new())];
    assert_eq!(*heard.messages.lock(), expected);
}

#[tokio::test]
async fn a_subscription_is_waited_for() {
    let server = Server::new().await;
    let (redis, mut pair, _heard) = connected(&server).await;
    let mut subscribe = redis.subscribe(vec!["b".into(), "c".into()]);
    let answer = async {
        assert_eq!(pair.subscriber.command().await, ["SUBSCRIBE", "b", "c"]);
        pair.subscriber.say("*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n").await;
        // A message of the first may come before the second is confirmed.
        pair.subscriber.message("b", "early").await;
    };
    tokio::select! {
        biased;
        _ = &mut subscribe => panic!("nothing was confirmed yet"),
        () = answer => {}
    }
    pair.subscriber.say("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:3\r\n").await;
    subscribe.await.unwrap();
}

#[tokio::test]
async fn a_loss_is_told_once_and_everything_is_said_again() {
    let server = Server::new().await;
    let (redis, pair, heard) = connected(&server).await;
    // One of both is enough.
    let Pair { publisher, subscriber } = pair;
    drop(publisher);
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert!(matches!(redis.publish("x", Bytes::new()).await.unwrap_err(), Error::NotConnected));
    drop(subscriber);
    // One that refuses, twice for the same reason, is told once.
    for _ in 0..2 {
        let mut peers = [server.accept().await, server.accept().await];
        for peer in &mut peers {
            peer.command().await;
            peer.say("-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n")
                .await;
        }
    }
    let peers = server.welcome().await;
    let mut pair = confirmed(peers, &["a"]).await;
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    redis.publish("x", Bytes::new()).await.unwrap();
    assert_eq!(pair.publisher.command().await, ["PUBLISH", "x", ""]);
    let trouble = |text: &str| Event::Trouble(text.into());
    let expected = [
        Event::Disconnected,
        trouble("the server closed the connection"),
        trouble("the server refuses: NOAUTH Authentication required."),
        Event::Reconnected,
    ];
    assert_eq!(*heard.events.lock(), expected);
}

#[tokio::test]
async fn nothing_is_published_before_everything_is_subscribed_to_again() {
    let server = Server::new().await;
    let (redis, pair, heard) = connected(&server).await;
    drop(pair);
    let peers = server.welcome().await;
    let error = redis.publish("x", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, Error::NotConnected));
    // A server that goes away before it has confirmed is a failed attempt, not a second loss.
    drop(peers);
    let pair = confirmed(server.welcome().await, &["a"]).await;
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    redis.publish("x", Bytes::new()).await.unwrap();
    drop(pair);
    let losses = heard.events.lock().iter().filter(|e| **e == Event::Disconnected).count();
    assert_eq!(losses, 1);
}

#[tokio::test]
async fn a_topic_that_is_forbidden_fails_the_subscription() {
    let server = Server::new().await;
    let (redis, mut pair, heard) = connected(&server).await;
    let refuse = async {
        pair.subscriber.command().await;
        pair.subscriber.say("-NOPERM no permissions to access a channel\r\n").await;
    };
    let (subscribed, ()) = tokio::join!(redis.subscribe(vec!["b".into()]), refuse);
    assert!(matches!(subscribed.unwrap_err(), Error::NotConnected));
    let refused = |event: &Event| matches!(event, Event::Trouble(text) if text.contains("NOPERM"));
    heard.wait_for(|heard| heard.events.lock().iter().any(refused)).await;
}

#[tokio::test]
async fn credentials_are_said_first() {
    let check = async |login: &str, expected: &[&str]| {
        let server = Server::new().await;
        let url = server.url().replace("redis://", &format!("redis://{login}@"));
        let redis = redis(&url);
        let accept = async {
            let mut peer = server.accept().await;
            assert_eq!(peer.command().await, expected);
            peer.say("-WRONGPASS invalid\r\n").await;
            peer
        };
        let (connected, _peer) = tokio::join!(redis.connect(Arc::new(Heard::default())), accept);
        let text = connected.unwrap_err().to_string();
        assert!(text.contains("WRONGPASS") && !text.contains("p@ss"), "{text}");
    };
    check(":p%40ss", &["AUTH", "p@ss"]).await;
    check("me:p%40ss", &["AUTH", "me", "p@ss"]).await;
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_does_not_work() {
    let (bad, good) = (Server::new().await, Server::new().await);
    let redis = Redis::new(&[bad.url(), good.url()], MESSAGE_MAX, "test").unwrap();
    let refuse = async { bad.accept().await.say("HTTP/1.1 400 Bad Request\r\n").await };
    let listener = Arc::new(Heard::default());
    let (connected, (), _peers) = tokio::join!(redis.connect(listener), refuse, good.welcome());
    connected.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_passed_over_and_told() {
    let server = Server::new().await;
    let (_redis, mut pair, heard) = connected(&server).await;
    pair.subscriber.message("a", &"x".repeat(MESSAGE_MAX)).await;
    pair.subscriber.message("a", &"y".repeat(MESSAGE_MAX + 1)).await;
    pair.subscriber.message("a", "after").await;
    heard.wait_for(|heard| heard.messages.lock().len() == 2).await;
    let sizes: Vec<_> = heard.messages.lock().iter().map(|(_, data)| data.len()).collect();
    assert_eq!(sizes, [MESSAGE_MAX, 5]);
    assert_eq!(*heard.events.lock(), [Event::TooLarge { size: MESSAGE_MAX + 1 }]);
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    for (to_publisher, words) in [
        (true, "*3\r\n$1\r\nx\r\n"),
        (true, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        (false, ":1\r\n"),
        (false, "x"),
    ] {
        let server = Server::new().await;
        let (_redis, mut pair, heard) = connected(&server).await;
        let peer = if to_publisher { &mut pair.publisher } else { &mut pair.subscriber };
        peer.say(words).await;
        peer.say("$1\r\na\r\n").await;
        heard.wait_for(|heard| heard.events.lock().len() == 2).await;
        let _again = server.welcome().await;
    }
}

#[tokio::test]
async fn a_refused_publish_is_told() {
    let server = Server::new().await;
    let (redis, mut pair, heard) = connected(&server).await;
    redis.publish("x", Bytes::new()).await.unwrap();
    pair.publisher.command().await;
    pair.publisher.say("-NOPERM no\r\n").await;
    heard.wait_for(|heard| !heard.events.lock().is_empty()).await;
    assert_eq!(*heard.events.lock(), [Event::Trouble("NOPERM no".into())]);
}

#[tokio::test]
async fn what_was_published_is_answered_before_the_connection_is_closed() {
    let server = Server::new().await;
    let (redis, mut pair, heard) = connected(&server).await;
    redis.publish("x", Bytes::new()).await.unwrap();
    let serve = async {
        assert_eq!(pair.publisher.command().await, ["PUBLISH", "x", ""]);
        pair.publisher.say(":0\r\n").await;
        pair.publisher.0.read(&mut [0]).await.unwrap()
    };
    let ((), rest) = tokio::join!(redis.disconnect(), serve);
    assert_eq!((rest, heard.events.lock().len()), (0, 0));
    assert!(redis.publish("x", Bytes::new()).await.is_err());
}

/// A server that reads nothing fills the buffer; publishing waits then, and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_read_makes_publishers_wait_and_loses_nothing() {
    const PUBLISHERS: usize = 200;
    let server = Server::new().await;
    let (redis, mut pair, _) = connected(&server).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (redis, sent) = (Arc::clone(&redis), Arc::clone(&sent));
            crate::task::run(async move {
                redis.publish("x", vec![b'.'; 100_000].into()).await.unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for _ in 0..PUBLISHERS {
        assert_eq!(pair.publisher.command().await[2], ".".repeat(100_000));
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
    let (redis, mut pair, _) = connected(&server).await;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let redis = Arc::clone(&redis);
            crate::task::run(async move {
                for n in 0..MESSAGES {
                    let data = format!("{publisher} {n}");
                    redis.publish("x", data.into()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut next = [0; PUBLISHERS];
    for _ in 0..PUBLISHERS * MESSAGES {
        let command = pair.publisher.command().await;
        let (publisher, n) = command[2].split_once(' ').unwrap();
        let publisher: usize = publisher.parse().unwrap();
        assert_eq!(n.parse(), Ok(next[publisher]));
        next[publisher] += 1;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}
