//! The client against servers of the tests: those that behave, those that go away and those that lie.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::protocol::{self, Writer};
use super::{Amqp, Options};
use crate::transporter::receipt::{self, Receipt};
use crate::transporter::{Error, Event, Listener, Queue, Transporter as _};

/// A server that does only what a test makes it do.
struct Server(TcpListener);

/// Its side of one connection.
struct Peer(TcpStream);

/// Class and number of a method, or the kind of another frame, and its payload.
type Said = ((u16, u16), Vec<u8>);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn amqp(&self, options: impl FnOnce(&mut Options)) -> Amqp {
        let url = format!("amqp://u:secret@{}/v?heartbeat=1", self.0.local_addr().unwrap());
        let mut all = Options::new(vec![url]);
        options(&mut all);
        Amqp::new(all, "n", "me").unwrap()
    }

    /// Accepts a client and its greeting.
    async fn accept(&self) -> Peer {
        let mut peer = Peer(self.0.accept().await.unwrap().0);
        let mut hello = [0; 8];
        peer.0.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"AMQP\0\0\x09\x01");
        peer
    }

    /// The whole handshake, up to the limit of messages.
    async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.say(0, (10, 10), |_| {}).await;
        let (_, start) = peer.hear((10, 11)).await;
        let login = b"\0\0\0\x09\0u\0secret";
        assert!(start.windows(login.len()).any(|part| part == login));
        peer.say(0, (10, 30), |out| {
            out.short(0).long(4_096).short(0);
        })
        .await;
        assert_eq!(peer.hear((10, 31)).await.1, b"\0\0\0\0\x10\0\0\x0a");
        assert_eq!(peer.hear((10, 40)).await.1, b"\x01v\0\0");
        peer.say(0, (10, 41), |_| {}).await;
        peer.hear((20, 10)).await;
        peer.say(1, (20, 11), |_| {}).await;
        peer.confirm().await;
        peer
    }
}

impl Peer {
    async fn say(&mut self, channel: u16, id: (u16, u16), write: impl FnOnce(&mut Writer<'_>)) {
        let mut out = Vec::new();
        protocol::method(&mut out, channel, id, write);
        self.0.write_all(&out).await.unwrap();
    }

    /// The next frame that is no heartbeat.
    async fn next(&mut self) -> Said {
        loop {
            let mut head = [0; 7];
            self.0.read_exact(&mut head).await.unwrap();
            let size = u32::from_be_bytes(head[3..].try_into().unwrap());
            let mut payload = vec![0; size as usize + 1];
            self.0.read_exact(&mut payload).await.unwrap();
            assert_eq!(payload.pop(), Some(0xce));
            match head[0] {
                1 => {
                    let rest = payload.split_off(4);
                    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
                    return ((number(0), number(2)), rest);
                }
                8 => {}
                kind => return ((0, kind.into()), payload),
            }
        }
    }

    async fn hear(&mut self, expected: (u16, u16)) -> Said {
        let said = self.next().await;
        assert_eq!(said.0, expected, "{said:?}");
        said
    }

    /// Hears what is to be confirmed, and confirms it.
    async fn confirm(&mut self) {
        self.hear((60, 10)).await;
        self.say(1, (60, 11), |_| {}).await;
    }

    /// Hears that a queue is declared and listened to; gives the name of the consumer.
    async fn hear_queue(&mut self, name: &str) -> String {
        let (_, declare) = self.hear((50, 10)).await;
        assert!(text(&declare[2..]).0 == name, "{declare:?}");
        let mut said = self.next().await;
        if said.0 == (50, 20) {
            said = self.next().await;
        }
        assert_eq!(said.0, (60, 20));
        let (queue, rest) = text(&said.1[2..]);
        assert_eq!(queue, name);
        text(rest).0
    }

    async fn deliver(&mut self, consumer: &str, tag: u64, data: &[u8]) {
        self.announce(consumer, tag, data.len() as u64).await;
        let mut out = Vec::new();
        for part in data.chunks(3) {
            out.extend_from_slice(b"\x03\0\x01\0\0\0");
            out.push(part.len().try_into().unwrap());
            out.extend_from_slice(part);
            out.push(0xce);
        }
        self.0.write_all(&out).await.unwrap();
    }

    async fn announce(&mut self, consumer: &str, tag: u64, size: u64) {
        self.say(1, (60, 60), |out| {
            out.short_text(consumer).long_long(tag).byte(0).short_text("").short_text("");
        })
        .await;
        let mut header = b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0".to_vec();
        header.extend_from_slice(&size.to_be_bytes());
        header.extend_from_slice(b"\0\0\xce");
        self.0.write_all(&header).await.unwrap();
    }
}

/// A short text and what follows it.
fn text(bytes: &[u8]) -> (String, &[u8]) {
    let (text, rest) = bytes[1..].split_at(bytes[0].into());
    (String::from_utf8(text.to_vec()).unwrap(), rest)
}

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Event>>,
    messages: Mutex<Vec<(String, Bytes)>>,
    /// Kept as long as the test wants the handling to last.
    receipts: Mutex<Vec<Option<Receipt>>>,
    changed: Notify,
}

impl Listener for Heard {
    fn handle_message(&self, topic: &str, data: Bytes) {
        self.receipts.lock().push(receipt::take());
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

async fn connected(server: &Server) -> (Amqp, Peer, Arc<Heard>) {
    let (amqp, heard) = (server.amqp(|_| {}), Arc::new(Heard::default()));
    let (connected, peer) = tokio::join!(amqp.connect(heard.clone()), server.welcome());
    connected.unwrap();
    (amqp, peer, heard)
}

fn topics() -> Vec<String> {
    ["MOL-n.REQ.me", "MOL-n.INFO", "MOL-n.INFO.me"].map(str::to_owned).to_vec()
}

/// The consumers of requests and of what all are told.
async fn subscribed(amqp: &Amqp, peer: &mut Peer) -> (String, String) {
    let serve = async {
        let requests = peer.hear_queue("MOL-n.REQ.me").await;
        let (_, exchange) = peer.hear((40, 10)).await;
        assert_eq!(text(&exchange[2..]).0, "MOL-n.INFO");
        let infos = peer.hear_queue("MOL-n.INFO.me").await;
        peer.confirm().await;
        (requests, infos)
    };
    let (subscribed, consumers) = tokio::join!(amqp.subscribe(topics()), serve);
    subscribed.unwrap();
    consumers
}

#[tokio::test]
async fn messages_go_out_and_come_in_and_are_acknowledged_when_they_are_handled() {
    let server = Server::new().await;
    let (amqp, mut peer, heard) = connected(&server).await;
    let (requests, infos) = subscribed(&amqp, &mut peer).await;
    amqp.publish("MOL-n.RES.x", Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(peer.hear((60, 40)).await.1, b"\0\0\0\x0bMOL-n.RES.x\0");
    assert_eq!(peer.next().await, ((0, 2), b"\0\x3c\0\0\0\0\0\0\0\0\0\x02\0\0".to_vec()));
    assert_eq!(peer.next().await, ((0, 3), b"{}".to_vec()));
    amqp.publish("MOL-n.INFO", Bytes::new()).await.unwrap();
    assert_eq!(peer.hear((60, 40)).await.1, b"\0\0\x0aMOL-n.INFO\0\0");
    peer.next().await;
    peer.deliver(&infos, 1, b"hello").await;
    peer.deliver(&requests, 2, b"one").await;
    peer.deliver(&requests, 3, b"").await;
    heard.wait_for(|heard| heard.messages.lock().len() == 3).await;
    let message = |topic: &str, data: &'static str| (topic.to_owned(), Bytes::from(data));
    let expected = [
        message("MOL-n.INFO.me", "hello"),
        message("MOL-n.REQ.me", "one"),
        message("MOL-n.REQ.me", ""),
    ];
    assert_eq!(*heard.messages.lock(), expected);
    // The later one ends first; what all are told wants no word.
    let receipts = std::mem::take(&mut *heard.receipts.lock());
    let kept: Vec<_> = receipts.into_iter().flatten().collect();
    assert_eq!(kept.len(), 2);
    for (receipt, tag) in kept.into_iter().rev().zip([3_u8, 2]) {
        drop(receipt);
        assert_eq!(peer.hear((60, 80)).await.1, [0, 0, 0, 0, 0, 0, 0, tag, 0]);
    }
}

#[tokio::test]
async fn shared_queues_come_and_go_and_those_that_stay_are_not_touched() {
    let server = Server::new().await;
    let (amqp, mut peer, _) = connected(&server).await;
    let queue = |name: &str| Queue { topic: format!("MOL-n.REQB.{name}"), group: name.into() };
    let share = |names: &[&str]| amqp.share(names.iter().copied().map(queue).collect());
    let serve = async {
        let first = peer.hear_queue("MOL-n.REQB.a").await;
        peer.hear_queue("MOL-n.REQB.b").await;
        peer.confirm().await;
        first
    };
    let (shared, first) = tokio::join!(share(&["a", "b"]), serve);
    shared.unwrap();
    let serve = async {
        assert_eq!(text(&peer.hear((60, 30)).await.1).0, first);
        peer.hear_queue("MOL-n.REQB.c").await;
        peer.confirm().await;
    };
    let (shared, ()) = tokio::join!(share(&["b", "c"]), serve);
    shared.unwrap();
    // Nothing to do, nothing to wait for.
    share(&["b", "c"]).await.unwrap();
    let long = "x".repeat(300);
    assert!(matches!(share(&["b", "c", &long]).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_queue_that_is_declared_otherwise_is_named_and_not_tried_again() {
    let server = Server::new().await;
    let (amqp, mut peer, heard) = connected(&server).await;
    let serve = async {
        peer.hear_queue("MOL-n.REQ.me").await;
        peer.say(1, (20, 40), |out| {
            out.short(406).short_text("PRECONDITION_FAILED - queue 'MOL-n.REQ.me'");
        })
        .await;
    };
    let (subscribed, ()) = tokio::join!(amqp.subscribe(vec!["MOL-n.REQ.me".into()]), serve);
    let error = subscribed.unwrap_err().to_string();
    assert!(error.contains("PRECONDITION_FAILED") && error.contains("MOL-n.REQ.me"), "{error}");
    let mut peer = server.welcome().await;
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    amqp.publish("MOL-n.INFO", Bytes::new()).await.unwrap();
    peer.hear((60, 40)).await;
}

#[tokio::test]
async fn a_loss_is_told_once_and_everything_is_declared_again() {
    let server = Server::new().await;
    let (amqp, mut peer, heard) = connected(&server).await;
    let (requests, _) = subscribed(&amqp, &mut peer).await;
    peer.deliver(&requests, 1, b"x").await;
    heard.wait_for(|heard| heard.messages.lock().len() == 1).await;
    drop(peer);
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert!(matches!(amqp.publish("MOL-n.INFO", Bytes::new()).await, Err(Error::NotConnected)));
    let mut peer = server.welcome().await;
    peer.hear_queue("MOL-n.REQ.me").await;
    peer.hear((40, 10)).await;
    peer.hear_queue("MOL-n.INFO.me").await;
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    // What came on the old connection is not acknowledged on the new one.
    heard.receipts.lock().clear();
    amqp.publish("MOL-n.INFO", Bytes::new()).await.unwrap();
    peer.hear((60, 40)).await;
    let closed = Event::Trouble("the server closed the connection".into());
    assert_eq!(*heard.events.lock(), [Event::Disconnected, closed, Event::Reconnected]);
}

#[tokio::test]
async fn a_failure_names_the_address_and_the_cause_and_no_secret() {
    let check = async |answer: &[u8], cause: &str| {
        let server = Server::new().await;
        let amqp = server.amqp(|_| {});
        let serve = async { server.accept().await.0.write_all(answer).await.unwrap() };
        let (connected, ()) = tokio::join!(amqp.connect(Arc::new(Heard::default())), serve);
        let text = connected.unwrap_err().to_string();
        assert!(text.contains("amqp://127.0.0.1:") && text.contains(cause), "{text}");
        assert!(!text.contains("secret"), "{text}");
    };
    let mut refused = Vec::new();
    protocol::method(&mut refused, 0, (10, 50), |out| {
        out.short(403).short_text("ACCESS_REFUSED - Login was refused");
    });
    check(&refused, "ACCESS_REFUSED").await;
    check(b"AMQP\0\0\x09\x02", "another version").await;
    check(b"HTTP/1.1 400", "breaks the protocol").await;
    check(b"", "closed the connection").await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_dropped_and_acknowledged_before_it_comes() {
    let server = Server::new().await;
    let (amqp, mut peer, heard) = connected(&server).await;
    let (requests, _) = subscribed(&amqp, &mut peer).await;
    peer.announce(&requests, 7, u64::MAX).await;
    assert_eq!(peer.hear((60, 80)).await.1[7], 7);
    peer.0.write_all(b"\x03\0\x01\0\0\0\x01x\xce").await.unwrap();
    let dropped = |event: &Event| matches!(event, Event::Trouble(text) if text.contains("dropped"));
    assert!(heard.events.lock().iter().all(dropped) && heard.messages.lock().is_empty());
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    let check = async |bytes: &[u8]| {
        let server = Server::new().await;
        let (_amqp, mut peer, heard) = connected(&server).await;
        peer.0.write_all(bytes).await.unwrap();
        heard.wait_for(|heard| heard.events.lock().len() == 2).await;
        let trouble = heard.events.lock()[1].clone();
        assert!(
            matches!(&trouble, Event::Trouble(text) if text.contains("protocol")),
            "{trouble:?}"
        );
        server.welcome().await;
    };
    check(b"\x03\0\x01\0\0\0\x01x\xce").await;
    check(b"\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\x01\0\0\xce").await;
    check(b"\x01\0\x01\xff\xff\xff\xff").await;
    check(b"\x09\0\x01\0\0\0\x01x\xce").await;
}

#[tokio::test]
async fn a_good_bye_comes_after_everything_else() {
    let server = Server::new().await;
    let (amqp, mut peer, heard) = connected(&server).await;
    subscribed(&amqp, &mut peer).await;
    amqp.publish("MOL-n.DISCONNECT", Bytes::new()).await.unwrap();
    let serve = async {
        peer.hear((60, 40)).await;
        peer.next().await;
        peer.hear((50, 50)).await;
        peer.hear((10, 50)).await;
        peer.say(0, (10, 51), |_| {}).await;
        peer.0.read(&mut [0]).await.unwrap()
    };
    let ((), rest) = tokio::join!(amqp.disconnect(), serve);
    assert_eq!((rest, heard.events.lock().len()), (0, 0));
    assert!(matches!(amqp.publish("MOL-n.INFO", Bytes::new()).await, Err(Error::NotConnected)));
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::new().await;
    let (_amqp, _peer, heard) = connected(&server).await;
    tokio::time::pause();
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    let expected = Event::Trouble("the server does not answer".into());
    assert_eq!(heard.events.lock()[1], expected);
}

#[test]
fn properties_are_those_of_the_options() {
    let mut message = super::Message::default();
    assert_eq!(super::properties(&message), [0, 0]);
    message.delivery_mode = Some(2);
    message.content_type = Some("x/y".into());
    message.expiration = Some("10".into());
    assert_eq!(super::properties(&message), b"\x91\0\x03x/y\x02\x0210");
}
