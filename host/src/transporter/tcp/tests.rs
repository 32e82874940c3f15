//! Connections between transporters, and with clients and servers that behave badly, on loopback.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener as Server, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::config::BrokerOptions;
use crate::packet::Info;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the test what happens.
struct Ears {
    messages: mpsc::Sender<(String, Bytes)>,
    events: mpsc::Sender<Event>,
}

impl Listener for Ears {
    fn handle_message(&self, topic: &str, data: Bytes) {
        self.messages.try_send((topic.to_owned(), data)).unwrap();
    }

    fn handle_event(&self, event: Event) {
        let _ = self.events.try_send(event);
    }
}

/// A connected transporter and what it told.
struct Node {
    tcp: Tcp,
    registry: Arc<RwLock<Registry>>,
    metrics: MetricRegistry,
    messages: mpsc::Receiver<(String, Bytes)>,
    events: mpsc::Receiver<Event>,
}

impl Node {
    async fn start(id: &str) -> Self {
        Self::start_with(id, |_| {}).await
    }

    async fn start_with(id: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { udp_discovery: false, ..Options::default() };
        change(&mut options);
        let info = Info { ip_list: vec!["127.0.0.1".into()], ..Info::default() };
        let own = &BrokerOptions::default().registry;
        let registry = Registry::new(id.into(), info, own, clock::now());
        let registry = Arc::new(RwLock::new(registry));
        let metrics = MetricRegistry::default();
        let tcp = Tcp::new(&options, "", &id.into(), Arc::clone(&registry), &metrics);
        let (message, messages) = mpsc::channel(10_000);
        let (event, events) = mpsc::channel(10_000);
        tcp.connect(Arc::new(Ears { messages: message, events: event })).await.unwrap();
        tcp.publish("MOL.GOSSIP_HELLO", Bytes::from_static(b"hello")).await.unwrap();
        Self { tcp, registry, metrics, messages, events }
    }

    fn port(&self) -> u16 {
        let port = self.tcp.gossip().unwrap().hello.get("port").and_then(Value::as_u64).unwrap();
        port.try_into().unwrap()
    }

    fn knows(&self, id: &str, port: u16) {
        self.registry.write().add_fixed(id, "127.0.0.1", port, clock::now());
    }

    async fn send(&self, topic: &str, data: &str) -> Result<(), Error> {
        self.tcp.publish(topic, Bytes::copy_from_slice(data.as_bytes())).await
    }

    async fn heard(&mut self) -> (String, String) {
        let message = tokio::time::timeout(PATIENCE, self.messages.recv());
        let (topic, data) = message.await.expect("a message").unwrap();
        (topic, String::from_utf8_lossy(&data).into_owned())
    }

    async fn told(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event").unwrap()
    }

    fn metric(&self, name: &'static str) -> i64 {
        self.metrics.metric(name).get()
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port())).await.unwrap()
    }

    /// Sends this on a connection of its own and waits until it is closed from the other side.
    async fn send_and_be_closed(&self, bytes: &[u8]) {
        let mut client = self.client().await;
        client.write_all(bytes).await.unwrap();
        closed(&mut client).await;
    }
}

async fn closed(client: &mut TcpStream) {
    let mut rest = Vec::new();
    // A connection that is reset is closed as well.
    let _ = tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("its end");
    assert!(rest.is_empty(), "nothing is said on a connection of the other side");
}

fn frame_of(kind: PacketType, packet: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, frame::number_of(kind).unwrap(), packet);
    bytes
}

fn heard(topic: &str, data: &str) -> (String, String) {
    (topic.to_owned(), data.to_owned())
}

#[tokio::test]
async fn the_greeting_is_the_first_frame_and_packets_keep_their_order() {
    let (a, mut b) = (Node::start("a").await, Node::start("b").await);
    a.knows("b", b.port());
    for n in 0..1_000 {
        a.send("MOL.REQ.b", &n.to_string()).await.unwrap();
    }
    assert_eq!(b.heard().await, heard("MOL.GOSSIP_HELLO.127.0.0.1", "hello"));
    for n in 0..1_000 {
        assert_eq!(b.heard().await, heard("MOL.REQ.b", &n.to_string()));
    }
    a.send("MOL.GOSSIP_REQ.b", "{}").await.unwrap();
    assert_eq!(b.heard().await, heard("MOL.GOSSIP_REQ.b", "{}"));
    // What is for all, and what is not sent on TCP, goes nowhere.
    for topic in ["MOL.INFO", "MOL.INFO.b", "MOL.HEARTBEAT", "MOL.DISCOVER.b", "MOL.REQB.x.y"] {
        a.send(topic, "x").await.unwrap();
    }
    a.send("MOL.PING.b", "last").await.unwrap();
    assert_eq!(b.heard().await, heard("MOL.PING.b", "last"));
    assert_eq!(a.metric("isomer.tcp.connections.outgoing.active"), 1);
    assert_eq!(b.metric("isomer.tcp.connections.incoming.active"), 1);
}

#[tokio::test]
async fn what_is_left_is_written_before_the_end_and_the_end_is_noticed() {
    let (mut a, mut b) = (Node::start("a").await, Node::start("b").await);
    a.knows("b", b.port());
    b.knows("a", a.port());
    b.send("MOL.REQ.a", "1").await.unwrap();
    a.heard().await;
    a.heard().await;
    a.send("MOL.RES.b", "answer").await.unwrap();
    a.tcp.disconnect().await;
    b.heard().await;
    assert_eq!(b.heard().await, heard("MOL.RES.b", "answer"));
    assert_eq!(b.told().await, Event::NodeLost { node_id: "a".into(), unexpected: false });
    assert!(matches!(a.send("MOL.REQ.b", "1").await, Err(Error::NotConnected)));
}

#[tokio::test]
async fn who_cannot_be_reached_is_lost_and_who_is_not_known_is_refused() {
    let mut a = Node::start("a").await;
    let gone = Node::start("gone").await;
    a.knows("gone", gone.port());
    gone.tcp.disconnect().await;
    a.send("MOL.REQ.gone", "x").await.unwrap();
    assert_eq!(a.told().await, Event::NodeLost { node_id: "gone".into(), unexpected: true });
    assert!(matches!(a.send("MOL.REQ.nobody", "x").await, Err(Error::Refused(_))));
    let limit = (1 << 20) - 6;
    assert!(matches!(
        a.send("MOL.REQ.gone", &"x".repeat(limit + 1)).await,
        Err(Error::PayloadTooLarge { limit: told, .. }) if told == limit
    ));
}

#[tokio::test]
async fn the_connection_that_was_used_longest_ago_makes_room() {
    let mut a = Node::start_with("a", |options| options.max_connections = 2).await;
    let (mut b, mut c, mut d) =
        (Node::start("b").await, Node::start("c").await, Node::start("d").await);
    for (id, node) in [("b", &b), ("c", &c), ("d", &d)] {
        a.knows(id, node.port());
    }
    a.send("MOL.REQ.b", "1").await.unwrap();
    a.send("MOL.REQ.c", "2").await.unwrap();
    a.send("MOL.REQ.b", "3").await.unwrap();
    a.send("MOL.GOSSIP_REQ.c", "{}").await.unwrap();
    // Gossip is no use: c goes, after everything that was for it has been sent.
    a.send("MOL.REQ.d", "4").await.unwrap();
    for expected in ["hello", "2", "{}"] {
        assert_eq!(c.heard().await.1, expected);
    }
    for expected in ["hello", "1", "3"] {
        assert_eq!(b.heard().await.1, expected);
    }
    for expected in ["hello", "4"] {
        assert_eq!(d.heard().await.1, expected);
    }
    let running = a.tcp.0.running.read().clone().unwrap();
    let mut kept: Vec<_> = running.links.lock().by_node.keys().cloned().collect();
    kept.sort();
    assert_eq!(kept.join(" "), "b d");
    assert!(a.events.try_recv().is_err(), "a connection that made room is no loss of a node");
    // It is made again when it is needed.
    a.send("MOL.REQ.c", "5").await.unwrap();
    assert_eq!(c.heard().await.1, "hello");
    assert_eq!(c.heard().await.1, "5");
}

#[tokio::test]
async fn a_frame_that_is_wrong_costs_its_connection_and_nothing_else() {
    let mut node = Node::start("n").await;
    let mut good = node.client().await;
    good.write_all(&frame_of(PacketType::Ping, b"1")).await.unwrap();
    assert_eq!(node.heard().await.1, "1");
    let wrong: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        // Shorter than its header, negative, larger than allowed, of an unknown type.
        &[5 ^ 2, 0, 0, 0, 5, 2],
        &[2, 0xff, 0xff, 0xff, 0xff, 2],
        &[0x7f ^ 0xff ^ 0xff ^ 0xff ^ 2, 0x7f, 0xff, 0xff, 0xff, 2],
        &[6 ^ 9, 0, 0, 0, 6, 9],
    ];
    for bytes in wrong {
        node.send_and_be_closed(bytes).await;
    }
    assert_eq!(node.metric("isomer.tcp.frames.refused.total"), 5);
    // What came before the wrong frame on the same connection counts.
    let mixed = [frame_of(PacketType::Ping, b"2"), vec![0; 16]].concat();
    node.send_and_be_closed(&mixed).await;
    assert_eq!(node.heard().await.1, "2");
    good.write_all(&frame_of(PacketType::Ping, b"3")).await.unwrap();
    assert_eq!(node.heard().await.1, "3");
    assert!(matches!(node.told().await, Event::Trouble(text) if text.contains("checksum")));
}

#[tokio::test]
async fn frames_may_come_in_any_pieces() {
    let mut node = Node::start("n").await;
    let mut client = node.client().await;
    client.set_nodelay(true).unwrap();
    let large = "x".repeat(300_000);
    let bytes =
        [frame_of(PacketType::Request, b"small"), frame_of(PacketType::Request, large.as_bytes())]
            .concat();
    let (first, rest) = bytes.split_at(20);
    for byte in first {
        client.write_all(&[*byte]).await.unwrap();
        client.flush().await.unwrap();
    }
    assert_eq!(node.heard().await.1, "small");
    client.write_all(rest).await.unwrap();
    assert_eq!(node.heard().await.1, large);
}

/// With a paused clock, time passes as soon as nothing else can happen.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_stops_in_the_middle_of_a_frame_is_closed() {
    let mut node = Node::start("n").await;
    let mut silent = node.client().await;
    closed(&mut silent).await;
    let mut half = node.client().await;
    half.write_all(&frame_of(PacketType::Ping, b"1")).await.unwrap();
    assert_eq!(node.heard().await.1, "1");
    // One that has shown a frame may be silent for as long as it likes, between frames.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    half.write_all(&frame_of(PacketType::Ping, b"2")).await.unwrap();
    assert_eq!(node.heard().await.1, "2");
    half.write_all(&frame_of(PacketType::Ping, b"never whole")[..10]).await.unwrap();
    closed(&mut half).await;
    assert_eq!(node.metric("isomer.tcp.connections.stalled.total"), 2);
}

#[tokio::test]
async fn a_flood_of_connections_pushes_out_only_those_that_have_said_nothing() {
    let mut node = Node::start("n").await;
    let mut good = node.client().await;
    good.write_all(&frame_of(PacketType::Ping, b"1")).await.unwrap();
    assert_eq!(node.heard().await.1, "1");
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(node.client().await);
    }
    // The oldest are closed by the newer ones.
    closed(&mut flood[0]).await;
    // And somebody with something to say still gets through.
    let mut late = node.client().await;
    late.write_all(&frame_of(PacketType::Ping, b"2")).await.unwrap();
    assert_eq!(node.heard().await.1, "2");
    good.write_all(&frame_of(PacketType::Ping, b"3")).await.unwrap();
    assert_eq!(node.heard().await.1, "3");
    assert!(node.metric("isomer.tcp.connections.refused.total") > 0);
}

/// A node that takes connections and never reads: publishing waits, then the node is lost, and nobody waits
/// any more.
#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_read_is_lost() {
    let mut a = Node::start("a").await;
    let server = Server::bind(("127.0.0.1", 0)).await.unwrap();
    a.knows("deaf", server.local_addr().unwrap().port());
    let deaf = async { server.accept().await.unwrap() };
    let packet = "x".repeat(500_000);
    let fill = async { while a.send("MOL.REQ.deaf", &packet).await.is_ok() {} };
    let (_connection, ()) = tokio::join!(deaf, fill);
    assert_eq!(a.told().await, Event::NodeLost { node_id: "deaf".into(), unexpected: true });
}

#[tokio::test]
async fn the_own_entry_of_the_list_says_where_to_listen() {
    let free = Server::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let entry = |id: &str, port| Endpoint { node_id: id.into(), host: "127.0.0.1".into(), port };
    let node = Node::start_with("n", |options| {
        options.urls = Urls::Listed(vec![entry("n", free), entry("other", 6_000)]);
    })
    .await;
    assert_eq!(node.port(), free);
    let other = node.registry.read().addresses("other", true);
    assert_eq!(other, Some((vec!["127.0.0.1".into()], 6_000)));
    // A port that somebody else has.
    let registry = Arc::clone(&node.registry);
    let options = Options { port: Some(free), udp_discovery: false, ..Options::default() };
    let tcp = Tcp::new(&options, "", &"m".into(), registry, &MetricRegistry::default());
    let (messages, _) = mpsc::channel(1);
    let (events, _) = mpsc::channel(1);
    let refused = tcp.connect(Arc::new(Ears { messages, events })).await;
    assert!(matches!(refused, Err(Error::Connect { .. })));
}
