//! The packets of Moleculer's protocol as values: what they carry, for versions 4 and 5, and nothing else.
//!
//! How they look as bytes is the business of `serializer`; where they go, of `transit`. Fields are those of
//! moleculer: src/transit.js; see the protocol's own field tables there.

use std::sync::Arc;

use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::error::MoleculerError;
use crate::payload::{Object, Payload};

mod version;

pub use version::ProtocolVersion;

/// The protocol version of Moleculer 0.15, sent as text.
pub const PROTOCOL_VERSION: &str = "5";

/// The kinds of packets that travel over message brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// An event for one node.
    Event,
    /// A request for one node.
    Request,
    /// The answer to a request.
    Response,
    /// "Who is there?"
    Discover,
    /// "This is what I offer."
    Info,
    /// "I am leaving."
    Disconnect,
    /// "I am alive."
    Heartbeat,
    /// Round-trip measurement.
    Ping,
    /// Its answer.
    Pong,
    /// "This is where I can be reached." Only on TCP, as are the next two.
    GossipHello,
    /// "This is whom I know."
    GossipRequest,
    /// "This is what you do not know."
    GossipResponse,
}

impl PacketType {
    /// All kinds; first those with topics, in the order in which they are subscribed.
    pub const ALL: [Self; 12] = [
        Self::Event,
        Self::Request,
        Self::Response,
        Self::Discover,
        Self::Info,
        Self::Disconnect,
        Self::Heartbeat,
        Self::Ping,
        Self::Pong,
        Self::GossipHello,
        Self::GossipRequest,
        Self::GossipResponse,
    ];

    /// Whether it belongs to the gossip of nodes that have no server between them.
    #[must_use]
    pub fn is_gossip(self) -> bool {
        matches!(self, Self::GossipHello | Self::GossipRequest | Self::GossipResponse)
    }

    /// The word in topics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "EVENT",
            Self::Request => "REQ",
            Self::Response => "RES",
            Self::Discover => "DISCOVER",
            Self::Info => "INFO",
            Self::Disconnect => "DISCONNECT",
            Self::Heartbeat => "HEARTBEAT",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::GossipHello => "GOSSIP_HELLO",
            Self::GossipRequest => "GOSSIP_REQ",
            Self::GossipResponse => "GOSSIP_RES",
        }
    }
}

/// A packet with its envelope.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Protocol version of the sender.
    pub ver: Arc<str>,
    /// Node ID of the sender.
    pub sender: Arc<str>,
    /// What it says.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Debug)]
pub enum Body {
    /// `EVENT`
    Event(Event),
    /// `REQ`
    Request(Request),
    /// `RES`
    Response(Response),
    /// `DISCOVER`
    Discover,
    /// `INFO`
    Info(Box<Info>),
    /// `DISCONNECT`
    Disconnect,
    /// `HEARTBEAT`
    Heartbeat(Heartbeat),
    /// `PING`
    Ping(Ping),
    /// `PONG`
    Pong(Pong),
    /// `GOSSIP_HELLO`: `{host, port}`. Like the other two, an object whose meaning is the transporter's.
    GossipHello(Map<String, Value>),
    /// `GOSSIP_REQ`: `{online: {id: [seq, cpuSeq, cpu]}, offline: {id: seq}}`
    GossipRequest(Map<String, Value>),
    /// `GOSSIP_RES`: `{online: {id: [info, cpuSeq, cpu] | [cpuSeq, cpu] | [info]}, offline: {id: seq}}`
    GossipResponse(Map<String, Value>),
}

impl Body {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PacketType {
        match self {
            Self::Event(_) => PacketType::Event,
            Self::Request(_) => PacketType::Request,
            Self::Response(_) => PacketType::Response,
            Self::Discover => PacketType::Discover,
            Self::Info(_) => PacketType::Info,
            Self::Disconnect => PacketType::Disconnect,
            Self::Heartbeat(_) => PacketType::Heartbeat,
            Self::Ping(_) => PacketType::Ping,
            Self::Pong(_) => PacketType::Pong,
            Self::GossipHello(_) => PacketType::GossipHello,
            Self::GossipRequest(_) => PacketType::GossipRequest,
            Self::GossipResponse(_) => PacketType::GossipResponse,
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The caller's context ID; key of its pending map.
    pub id: Arc<str>,
    /// Full action name.
    pub action: Arc<str>,
    /// Params; `Absent` when the key was missing.
    pub params: Payload,
    /// Meta.
    pub meta: Object,
    /// Headers; version 4 has none, whatever is here.
    pub headers: Object,
    /// Milliseconds, may be fractional; 0 is "none"; `None` when absent or null.
    pub timeout: Option<f64>,
    /// 1 at the root.
    pub level: u32,
    /// Whether the chain is traced.
    pub tracing: Option<bool>,
    /// Parent context.
    pub parent_id: Option<Arc<str>>,
    /// ID of the chain; the request's own ID when absent.
    pub request_id: Option<Arc<str>>,
    /// Full name of the calling service.
    pub caller: Option<Arc<str>>,
    /// True while chunks of a stream follow.
    pub stream: bool,
    /// Number of the chunk.
    pub seq: Option<u32>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// ID of the request.
    pub id: Arc<str>,
    /// The callee's final meta.
    pub meta: Object,
    /// Response headers, which version 4 does not have; `None` is sent as `null`, which JS does when the action was not resolved.
    pub headers: Option<Object>,
    /// Result or error.
    pub result: Result<Payload, MoleculerError>,
    /// Present on streamed responses only.
    pub stream: Option<bool>,
    /// Number of the chunk.
    pub seq: Option<u32>,
}

/// An event for one node.
#[derive(Clone, Debug)]
pub struct Event {
    /// Context ID, new for every target.
    pub id: Arc<str>,
    /// Concrete name.
    pub event: Arc<str>,
    /// Data.
    pub data: Payload,
    /// Groups; `None` for a broadcast to all.
    pub groups: Option<Vec<Arc<str>>>,
    /// Broadcast or balanced.
    pub broadcast: bool,
    /// Meta.
    pub meta: Object,
    /// Headers; version 4 has none, whatever is here.
    pub headers: Object,
    /// 1 at the root.
    pub level: u32,
    /// Whether the chain is traced.
    pub tracing: Option<bool>,
    /// Parent context.
    pub parent_id: Option<Arc<str>>,
    /// ID of the chain.
    pub request_id: Option<Arc<str>>,
    /// Full name of the sending service.
    pub caller: Option<Arc<str>>,
}

/// What a node offers.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// `None` keeps the receiver's old list, an empty list clears it.
    pub services: Option<Vec<ServiceItem>>,
    /// Addresses.
    pub ip_list: Vec<String>,
    /// Host name.
    pub hostname: String,
    /// `{type, version, langVersion}`
    pub client: Value,
    /// Always empty today.
    pub config: Value,
    /// ID of this process run.
    pub instance_id: Option<Arc<str>>,
    /// Broker option `metadata`.
    pub metadata: Value,
    /// Grows with every change; 1 when absent.
    pub seq: u64,
    /// Where it listens, on the TCP transporter. Not part of the packet: raw infos of gossip and of
    /// discoverers carry it.
    pub port: Option<u16>,
}

/// The word in `client.type` of nodes of this kind.
pub const CLIENT_TYPE: &str = "isomer";

/// The key in `config` of an INFO which another one follows at once. Nodes of JavaScript, which have no use
/// for `config`, read it as any other.
pub const INTERIM: &str = "interim";

impl Info {
    /// Whether its node is one of this kind.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.client.get("type").and_then(Value::as_str) == Some(CLIENT_TYPE)
    }

    /// Whether another one follows at once, so that this one can be passed over.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.is_ours() && self.config.get(INTERIM).and_then(Value::as_bool) == Some(true)
    }
}

/// One service of an INFO. Definitions are carried as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceItem {
    /// Name without version.
    pub name: String,
    /// Number, string or `Null`.
    pub version: Value,
    /// Name with version; made from both when absent.
    pub full_name: String,
    /// Public settings.
    pub settings: Value,
    /// Free.
    pub metadata: Value,
    /// Full action name → definition.
    pub actions: Map<String, Value>,
    /// Pattern → definition.
    pub events: Map<String, Value>,
}

/// Sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// CPU load in percent; `None` before the first sample.
    pub cpu: Option<f64>,
}

/// Round-trip measurement.
#[derive(Clone, Debug)]
pub struct Ping {
    /// Sender's clock, milliseconds since 1970.
    pub time: f64,
    /// Its ID.
    pub id: Option<Arc<str>>,
}

/// Answer to a ping.
#[derive(Clone, Debug)]
pub struct Pong {
    /// Copied from the ping.
    pub time: f64,
    /// Copied from the ping.
    pub id: Option<Arc<str>>,
    /// Responder's clock, milliseconds since 1970.
    pub arrived: f64,
}

/// A text that a node must be able to use as its ID on every transporter; `Err` says what is wrong.
///
/// # Errors
/// A sentence fragment that names the fault.
pub fn check_node_id(node_id: &str) -> Result<(), ByteString> {
    if node_id.is_empty() {
        return Err("it is empty".into());
    }
    if node_id.len() > 255 {
        return Err("it is longer than 255 bytes".into());
    }
    if let Some(bad) =
        node_id.chars().find(|c| c.is_whitespace() || c.is_control() || "*>|".contains(*c))
    {
        return Err(format!("it contains {bad:?}").into());
    }
    Ok(())
}
