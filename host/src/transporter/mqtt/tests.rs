//! The client against servers of the tests: those that behave, those that go away and those that lie.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::Mqtt;
use crate::config::transporter::mqtt::Options;
use crate::transporter::{Error, Event, Listener, Transporter as _};

/// A server that does only what a test makes it do.
struct Server(TcpListener);

impl Server {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn options(&self) -> Options {
        Options::new(vec![format!("mqtt://u:secret@{}", self.0.local_addr().unwrap())])
    }

    /// Accepts a client, hears what it says first and answers.
    async fn welcome(&self, answer: &[u8]) -> TcpStream {
        let mut peer = self.0.accept().await.unwrap().0;
        let hello = packet(&mut peer).await;
        assert_eq!((hello[0], &hello[4..8]), (0x10, b"MQTT".as_slice()));
        peer.write_all(answer).await.unwrap();
        peer
    }
}

const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";

/// Reads one packet of less than 128 bytes.
async fn packet(peer: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    peer.read_exact(&mut packet).await.unwrap();
    let mut rest = vec![0; packet[1].into()];
    peer.read_exact(&mut rest).await.unwrap();
    [packet, rest].concat()
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

async fn connected(server: &Server, options: Options) -> (Mqtt, TcpStream, Arc<Heard>) {
    let (mqtt, heard) = (Mqtt::new(options, "n").unwrap(), Arc::new(Heard::default()));
    let (connected, peer) = tokio::join!(mqtt.connect(heard.clone()), server.welcome(ACCEPTED));
    connected.unwrap();
    (mqtt, peer, heard)
}

#[tokio::test]
async fn messages_go_out_and_come_in_with_the_wanted_separator() {
    let server = Server::new().await;
    let options = Options { topic_separator: "/".into(), ..server.options() };
    let (mqtt, mut peer, heard) = connected(&server, options).await;
    mqtt.subscribe(vec!["MOL-n.REQ.a.b".into()]).await.unwrap();
    mqtt.publish("MOL-n.INFO", Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\x82\x12\x00\x01\x00\x0dMOL-n/REQ/a.b\x00");
    assert_eq!(packet(&mut peer).await, b"\x30\x0e\x00\x0aMOL-n/INFO{}");
    peer.write_all(b"\x90\x03\x00\x01\x00\x30\x11\x00\x0dMOL-n/REQ/a.b{}\x30").await.unwrap();
    peer.write_all(b"\x07\x00\x03x/yzz").await.unwrap();
    peer.write_all(b"\x30\x0c\x00\x0aMOL-n/INFO").await.unwrap();
    heard.wait_for(|heard| heard.messages.lock().len() == 2).await;
    let expected = [
        ("MOL-n.REQ.a.b".to_owned(), Bytes::from_static(b"{}")),
        ("MOL-n.INFO".to_owned(), Bytes::new()),
    ];
    assert_eq!(*heard.messages.lock(), expected);
    let refused = mqtt.publish("MOL-n.REQ.#", Bytes::new()).await;
    assert!(matches!(refused, Err(Error::Refused(_))));
}

#[tokio::test]
async fn messages_are_acknowledged_as_their_quality_wants_it() {
    let server = Server::new().await;
    let options = Options { qos: 2, ..server.options() };
    let (mqtt, mut peer, heard) = connected(&server, options).await;
    mqtt.publish("MOL-n.A", Bytes::new()).await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\x34\x0b\x00\x07MOL-n.A\x00\x01");
    peer.write_all(b"\x50\x02\x00\x01").await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\x62\x02\x00\x01");
    peer.write_all(b"\x70\x02\x00\x01").await.unwrap();
    // The same message twice is handled once, until its number is free again.
    let message = b"\x34\x0b\x00\x07MOL-n.A\x00\x05";
    for _ in 0..2 {
        peer.write_all(message).await.unwrap();
        assert_eq!(packet(&mut peer).await, b"\x50\x02\x00\x05");
    }
    peer.write_all(b"\x62\x02\x00\x05").await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\x70\x02\x00\x05");
    peer.write_all(message).await.unwrap();
    peer.write_all(b"\x32\x0b\x00\x07MOL-n.A\x00\x06").await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\x50\x02\x00\x05");
    assert_eq!(packet(&mut peer).await, b"\x40\x02\x00\x06");
    heard.wait_for(|heard| heard.messages.lock().len() == 3).await;
}

#[tokio::test]
async fn a_loss_is_told_once_and_everything_is_asked_for_again() {
    let server = Server::new().await;
    let (mqtt, mut peer, heard) = connected(&server, server.options()).await;
    mqtt.subscribe(vec!["MOL-n.A".into()]).await.unwrap();
    let asked = packet(&mut peer).await;
    drop(peer);
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert!(matches!(mqtt.publish("MOL-n.A", Bytes::new()).await, Err(Error::NotConnected)));
    drop(server.welcome(b"\x20\x02\x00\x05").await);
    let mut peer = server.welcome(ACCEPTED).await;
    assert_eq!(packet(&mut peer).await, asked);
    heard.wait_for(|heard| heard.events.lock().last() == Some(&Event::Reconnected)).await;
    mqtt.publish("MOL-n.A", Bytes::new()).await.unwrap();
    assert_eq!(packet(&mut peer).await[0], 0x30);
    let trouble = |text: &str| Event::Trouble(text.into());
    let expected = [
        Event::Disconnected,
        trouble("the server closed the connection"),
        trouble("the server refuses: not authorized"),
        Event::Reconnected,
    ];
    assert_eq!(*heard.events.lock(), expected);
}

#[tokio::test]
async fn a_failure_names_the_address_and_the_cause_and_no_secret() {
    let check = async |answer: &[u8], cause: &str| {
        let server = Server::new().await;
        let mqtt = Mqtt::new(server.options(), "n").unwrap();
        let serve = async { drop(server.welcome(answer).await) };
        let (connected, ()) = tokio::join!(mqtt.connect(Arc::new(Heard::default())), serve);
        let text = connected.unwrap_err().to_string();
        assert!(text.contains("mqtt://127.0.0.1:") && text.contains(cause), "{text}");
        assert!(!text.contains("secret"), "{text}");
    };
    check(b"", "closed the connection").await;
    check(b"HTTP/1.1 400", "breaks the protocol").await;
    check(b"\x20\x02\x00\x04", "user name or password").await;
    check(b"\xd0\x00", "no CONNACK").await;
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_left() {
    let server = Server::new().await;
    let (_mqtt, mut peer, heard) = connected(&server, server.options()).await;
    // What came before the fault still counts.
    peer.write_all(b"\x30\x09\x00\x07MOL-n.A\x30\xff\xff\xff\xff").await.unwrap();
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    assert_eq!(heard.messages.lock().len(), 1);
    let _again = server.welcome(ACCEPTED).await;
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::new().await;
    let options = Options { keep_alive: Duration::from_secs(5), ..server.options() };
    let (_mqtt, mut peer, heard) = connected(&server, options).await;
    tokio::time::pause();
    assert_eq!(packet(&mut peer).await, b"\xc0\x00");
    peer.write_all(b"\xd0\x00").await.unwrap();
    assert_eq!(packet(&mut peer).await, b"\xc0\x00");
    heard.wait_for(|heard| heard.events.lock().len() == 2).await;
    let expected = Event::Trouble("the server does not answer".into());
    assert_eq!(heard.events.lock()[1], expected);
}

#[tokio::test]
async fn a_good_bye_comes_after_everything_else() {
    let server = Server::new().await;
    let (mqtt, mut peer, heard) = connected(&server, server.options()).await;
    mqtt.publish("MOL-n.A", Bytes::new()).await.unwrap();
    let serve = async {
        assert_eq!(packet(&mut peer).await[0], 0x30);
        assert_eq!(packet(&mut peer).await, b"\xe0\x00");
        drop(peer);
    };
    tokio::join!(mqtt.disconnect(), serve);
    assert_eq!(heard.events.lock().len(), 0);
    assert!(matches!(mqtt.publish("MOL-n.A", Bytes::new()).await, Err(Error::NotConnected)));
}
