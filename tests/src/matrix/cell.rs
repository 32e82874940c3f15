//! One transporter with one serializer: our node, a broker of each Moleculer, and everything that is tried
//! between them.

use std::time::Duration;

use futures_util::future::join;
use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::config::load::{Sources, load};
use isomer_host::config::problem::Problems;
use isomer_host::context::{CallOptions, EmitOptions};
use isomer_host::payload::Payload;
use isomer_host::payload::stream::Stream;
use serde_json::{Value, json};

use super::server::Server;
use super::values::{self, Inbox};
use super::{Outcome, Row};
use crate::broker::{self, json as payload, object};
use crate::peer::{Peer, Version};

/// What is tried, in the order of the document.
pub(super) const COLUMNS: [&str; 9] = [
    "they call us",
    "we call them",
    "emit",
    "broadcast",
    "ping",
    "error",
    "stream in",
    "stream out",
    "object stream",
];

/// How long one thing may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// One transporter with one serializer.
pub(super) struct Cell<'a> {
    server: &'a Server,
    transporter: &'static str,
    serializer: &'static str,
    node_id: String,
}

/// One side of each kind, which know each other.
struct Pair<'a> {
    rs: &'a ServiceBroker,
    inbox: &'a Inbox,
    js: Peer,
    /// Node and service of the other side.
    name: String,
}

type Tried = Result<(), String>;

impl<'a> Cell<'a> {
    pub(super) fn new(
        server: &'a Server,
        transporter: &'static str,
        serializer: &'static str,
    ) -> Self {
        let node_id = format!("rs-{}-{}", transporter.to_lowercase(), serializer.to_lowercase());
        Self { server, transporter, serializer, node_id }
    }

    /// A row for each Moleculer.
    pub(super) async fn run(self) -> Vec<Row> {
        let ways = self.server.ways(&self.node_id);
        let options = match self.options(&ways.ours) {
            Ok(options) => options,
            Err(outcome) => return self.both(&outcome),
        };
        let rs = broker::start(options).await;
        let inbox = values::serve(&rs).await;
        let (old, new) = join(
            self.row(Version::V14, &rs, &inbox, &ways.theirs),
            self.row(Version::V15, &rs, &inbox, &ways.theirs),
        )
        .await;
        rs.stop().await;
        vec![old, new]
    }

    /// Our node, configured as an operator would; or why that cannot be.
    fn options(&self, transporter: &Value) -> Result<BrokerOptions, Outcome> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let settings = [
            ("nodeID", self.node_id.clone()),
            ("namespace", self.namespace()),
            ("transporter", text(transporter)),
            ("serializer", self.serializer.to_owned()),
            ("protocolVersion", "auto".to_owned()),
            ("requestTimeout", "15000".to_owned()),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let loaded = load(Sources { settings, ..Sources::default() });
        loaded.map(|loaded| loaded.options.broker).map_err(|problems| refusal(&problems))
    }

    fn namespace(&self) -> String {
        format!("matrix-{}", self.serializer.to_lowercase())
    }

    fn both(&self, outcome: &Outcome) -> Vec<Row> {
        [Version::V14, Version::V15].map(|version| self.whole_row(version, outcome)).to_vec()
    }

    fn whole_row(&self, version: Version, outcome: &Outcome) -> Row {
        let (transporter, serializer) = (self.transporter, self.serializer);
        Row { transporter, serializer, version, outcomes: vec![outcome.clone(); COLUMNS.len()] }
    }

    async fn row(
        &self,
        version: Version,
        rs: &ServiceBroker,
        inbox: &Inbox,
        transporter: &Value,
    ) -> Row {
        if version == Version::V14 && self.serializer == "JSONExt" {
            let reason = "Moleculer 0.14 does not have this serializer; it came with 0.15.";
            return self.whole_row(version, &Outcome::Absent(reason.into()));
        }
        let name = format!("js-{}-{}", version.name(), self.node_id).replace('.', "");
        let js = Peer::script("matrix.js", version, &name);
        let options = json!({"namespace": self.namespace(), "transporter": transporter,
            "serializer": self.serializer});
        let start = json!({"name": name, "to": self.node_id, "options": options});
        let pair = Pair { rs, inbox, js, name };
        let started = pair.js.ask("start", start).await;
        if let Err(error) = started {
            return self.whole_row(version, &Outcome::Fails(format!("its start: {error}")));
        }
        broker::wait_for_service_on(rs, &pair.name, &pair.name).await;
        let mut row = self.whole_row(version, &Outcome::Works);
        for (column, outcome) in COLUMNS.iter().zip(&mut row.outcomes) {
            let tried = tokio::time::timeout(TIME_MAX, pair.attempt(column)).await;
            let tried = tried.unwrap_or_else(|_| Err(format!("no end within {TIME_MAX:?}")));
            *outcome = tried.map_or_else(Outcome::Fails, |()| Outcome::Works);
        }
        row
    }
}

impl Pair<'_> {
    async fn attempt(&self, column: &str) -> Tried {
        match column {
            "they call us" => self.they("call").await,
            "we call them" => self.we_call().await,
            "emit" | "broadcast" => self.event(column).await,
            "ping" => self.ping().await,
            "error" => self.error().await,
            "stream in" => {
                self.they("send bytes").await?;
                values::check_bytes(&self.stream_of("giveBytes").await?).await
            }
            "stream out" => {
                self.they("take bytes").await?;
                self.send("bytes", values::byte_stream()).await
            }
            _ => {
                self.they("send objects").await?;
                self.they("take objects").await?;
                values::check_objects(&self.stream_of("giveObjects").await?).await?;
                self.send("objects", values::object_stream()).await
            }
        }
    }

    /// A check that the other side makes of us.
    async fn they(&self, check: &str) -> Tried {
        self.ask(check, json!({"values": values::values()})).await.map(|_| ())
    }

    async fn ask(&self, check: &str, mut args: Value) -> Result<Value, String> {
        args["name"] = self.name.clone().into();
        args["to"] = self.rs.node_id().to_string().into();
        args["check"] = check.into();
        let told = |error: Value| format!("{check}, from there: {}", error.as_str().unwrap_or(""));
        self.js.ask("check", args).await.map_err(told)
    }

    async fn call(&self, action: &str, params: &Value, options: CallOptions) -> Answer {
        let action = format!("{}.{action}", self.name);
        let answered = self.rs.call(&action, payload(params), options).await;
        answered.map_err(|error| format!("{action}: {error}"))
    }

    async fn we_call(&self) -> Tried {
        let meta = Some(object(&json!({"there": 1})));
        let (values, options) = (values::values(), CallOptions { meta, ..CallOptions::default() });
        let answer = self.call("echo", &values, options).await?;
        same(&answer.parse().map_err(|error| format!("{error}"))?, &values)
    }

    /// An event each way.
    async fn event(&self, kind: &str) -> Tried {
        let verb = if kind == "emit" { "emitted" } else { "broadcast" };
        self.they(kind).await?;
        let name = format!("{}.{verb}", self.rs.node_id());
        let event = self.inbox.next(&name, &self.name).await;
        let mut wanted = values::values();
        wanted["from"] = self.name.clone().into();
        same(&event.data, &wanted)?;
        same(&json!(event.broadcast), &json!(kind == "broadcast"))?;

        let name = format!("{}.{verb}", self.name);
        let (data, options) = (payload(&values::values()), EmitOptions::default());
        let sent = match kind {
            "emit" => self.rs.emit(&name, data, options).await,
            _ => self.rs.broadcast(&name, data, options).await,
        };
        sent.map_err(|error| error.to_string())?;
        let args = json!({"event": name, "values": values::values()});
        let heard = self.ask("heard", args).await?;
        same(&heard["broadcast"], &json!(kind == "broadcast"))
    }

    async fn ping(&self) -> Tried {
        self.they("ping").await?;
        let pong = self.rs.ping(&self.name.as_str().into(), TIME_MAX).await;
        match pong.map_err(|error| error.to_string())? {
            Some(_) => Ok(()),
            None => Err("no pong".into()),
        }
    }

    async fn error(&self) -> Tried {
        self.they("error").await?;
        let action = format!("{}.fail", self.name);
        let answered = self.rs.call(&action, Payload::Absent, CallOptions::default()).await;
        let Err(error) = answered else { return Err("no error came".into()) };
        let mut seen = error.to_wire("nobody");
        let mut wanted = values::error().to_wire(&self.name);
        for wire in [&mut seen, &mut wanted] {
            wire.as_object_mut().map(|wire| wire.remove("stack"));
        }
        same(&seen, &wanted)
    }

    /// The stream that an action of the other side answers with.
    async fn stream_of(&self, action: &str) -> Result<Stream, String> {
        match self.call(action, &json!({}), CallOptions::default()).await? {
            Payload::Stream(stream) => Ok(stream),
            other => Err(format!("{action}: no stream: {other:?}")),
        }
    }

    /// Sends a stream, which the other side compares.
    async fn send(&self, action: &str, stream: Stream) -> Tried {
        let options = CallOptions { stream: Some(stream), ..CallOptions::default() };
        let answer = self.call(action, &json!({"beside": true}), options).await?;
        same(&answer.parse().map_err(|error| format!("{error}"))?, &json!(true))
    }
}

/// A node that cannot be had: what this version does not offer is no failure.
fn refusal(problems: &Problems) -> Outcome {
    let reason = problems.to_string();
    if reason.contains("this version") { Outcome::Absent(reason) } else { Outcome::Fails(reason) }
}

type Answer = Result<Payload, String>;

fn same(seen: &Value, wanted: &Value) -> Tried {
    if seen == wanted { Ok(()) } else { Err(format!("{seen} instead of {wanted}")) }
}
