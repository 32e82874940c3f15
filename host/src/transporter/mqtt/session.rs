//! One connection to an MQTT server: being let in, reading, acknowledging, signs of life.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::clock;
use crate::transporter::address::Address;
use crate::transporter::link::{self, Client, Lost, Outbox, Socket, causes};
use crate::transporter::mqtt::protocol::{self, Packet, Parsed, Step};
use crate::transporter::mqtt::topic::Topics;
use crate::transporter::{Error, Event, Listener};

/// How long a server may take to let a client in.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages with an acknowledgement that wait for it at once.
const IN_FLIGHT_MAX: usize = 1_000;

/// What publishers and the connection's task share.
pub(super) struct Shared {
    pub(super) outbox: Outbox,
    pub(super) topics: Topics,
    pub(super) qos: u8,
    /// All topics, as the server knows them; asked for again on every connection.
    subscribed: Mutex<Vec<String>>,
    in_flight: Mutex<InFlight>,
    /// A message was acknowledged, or the connection is lost.
    acknowledged: Notify,
}

#[derive(Default)]
struct InFlight {
    last_id: u16,
    ids: HashSet<u16>,
}

impl InFlight {
    fn next(&mut self) -> Option<u16> {
        if self.ids.len() >= IN_FLIGHT_MAX {
            return None;
        }
        // There are many more numbers than may be in flight.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.ids.insert(self.last_id) {
                return Some(self.last_id);
            }
        }
    }
}

impl Shared {
    pub(super) fn new(topics: Topics, qos: u8) -> Self {
        Self {
            outbox: Outbox::default(),
            topics,
            qos,
            subscribed: Mutex::default(),
            in_flight: Mutex::default(),
            acknowledged: Notify::new(),
        }
    }

    /// Remembers topics and asks for their messages.
    pub(super) async fn subscribe(&self, topics: Vec<String>) -> Result<(), Error> {
        let qos = self.qos;
        self.outbox.put(|out| protocol::subscribe(out, 1, &topics, qos)).await?;
        self.subscribed.lock().extend(topics);
        Ok(())
    }

    /// Sends a message.
    pub(super) async fn publish(&self, topic: &str, data: &[u8]) -> Result<(), Error> {
        let (qos, id) = match self.qos {
            0 => (0, 0),
            qos => (qos, self.next_id().await),
        };
        let put = self.outbox.put(|out| protocol::publish(out, topic, data, qos, id)).await;
        if put.is_err() {
            self.settle(id);
        }
        put
    }

    async fn next_id(&self) -> u16 {
        loop {
            let acknowledged = self.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            let next = self.in_flight.lock().next();
            match next {
                Some(id) => return id,
                None => acknowledged.await,
            }
        }
    }

    fn settle(&self, id: u16) {
        self.in_flight.lock().ids.remove(&id);
        self.acknowledged.notify_one();
    }

    /// A lost connection takes its session with it.
    fn close(&self) {
        self.outbox.close();
        self.in_flight.lock().ids.clear();
        self.acknowledged.notify_waiters();
    }
}

/// The client's side.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) servers: Vec<Address>,
    pub(super) client_id: String,
    pub(super) keep_alive: Duration,
}

/// A connection that was accepted.
pub(super) struct Session {
    socket: Socket,
    /// Its number in the outbox.
    number: u64,
}

impl Client for Connection {
    type Session = Session;

    async fn connect(&mut self) -> Result<Session, String> {
        let mut failed = Vec::new();
        for server in &self.servers {
            let opening = self.open(server);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, opening).await {
                Ok(Ok(socket)) => {
                    let number = self.begin();
                    return Ok(Session { socket, number });
                }
                Ok(Err(lost)) => failed.push((server.to_string(), lost)),
                Err(_) => failed.push((server.to_string(), Lost::Silent)),
            }
        }
        Err(causes(&failed))
    }

    async fn serve(&mut self, session: Session) -> Lost {
        let Socket { mut source, mut sink, mut buffer } = session.socket;
        let reader = Reader {
            shared: &self.shared,
            listener: &*self.listener,
            number: session.number,
            received: HashSet::new(),
            alive: &AtomicBool::new(true),
        };
        let alive = reader.alive;
        let lost = tokio::select! {
            lost = reader.read(&mut *source, &mut buffer) => lost,
            error = self.shared.outbox.write_to(&mut *sink) => Lost::Io(error),
            lost = self.stay_alive(session.number, alive) => lost,
        };
        self.shared.close();
        lost
    }

    fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }

    fn listener(&self) -> Arc<dyn Listener> {
        Arc::clone(&self.listener)
    }
}

impl Connection {
    async fn open(&self, server: &Address) -> Result<Socket, Lost> {
        let mut socket = Socket::open(server).await?;
        let keep_alive_s = u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let hello = protocol::connect(&self.client_id, server.login.as_ref(), keep_alive_s);
        socket.write(&hello).await?;
        loop {
            let (code, size) = match protocol::parse(&socket.buffer).map_err(Lost::Protocol)? {
                Parsed::Whole { packet: Packet::ConnAck { code }, size } => (code, size),
                Parsed::Whole { .. } => return Err(Lost::Protocol("no CONNACK")),
                Parsed::Partial { missing } => {
                    socket.read(missing).await?;
                    continue;
                }
            };
            socket.buffer.advance(size);
            return match code {
                0 => Ok(socket),
                code => Err(Lost::Refused(refusal(code).into())),
            };
        }
    }

    /// Everything is subscribed to before anything is published.
    fn begin(&self) -> u64 {
        let number = self.shared.outbox.open();
        let topics = self.shared.subscribed.lock().clone();
        if !topics.is_empty() {
            let qos = self.shared.qos;
            self.shared.outbox.answer(number, |out| protocol::subscribe(out, 1, &topics, qos));
        }
        number
    }

    /// Asks for a sign of life in every period.
    async fn stay_alive(&self, number: u64, alive: &AtomicBool) -> Lost {
        let period = self.keep_alive;
        let mut ticks = interval_at(clock::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !alive.swap(false, Ordering::AcqRel) {
                return Lost::Silent;
            }
            if !self.shared.outbox.answer(number, protocol::ping) {
                return Lost::Silent;
            }
        }
    }
}

fn refusal(code: u8) -> &'static str {
    match code {
        1 => "it does not speak MQTT 3.1.1",
        2 => "it does not take this client ID",
        3 => "it is not available",
        4 => "user name or password are wrong",
        5 => "not authorized",
        _ => "for a reason without a name",
    }
}

/// What reads a connection.
struct Reader<'a> {
    shared: &'a Shared,
    listener: &'a dyn Listener,
    number: u64,
    /// Messages of QoS 2 whose numbers the server still uses: they are not handled twice.
    received: HashSet<u16>,
    /// Set by whatever comes in.
    alive: &'a AtomicBool,
}

impl Reader<'_> {
    async fn read(
        mut self,
        source: &mut (dyn AsyncRead + Send + Unpin),
        buffer: &mut BytesMut,
    ) -> Lost {
        loop {
            let missing = match self.handle_all(buffer) {
                Ok(missing) => missing,
                Err(lost) => return lost,
            };
            if let Err(lost) = link::read_more(source, buffer, missing).await {
                return lost;
            }
            self.alive.store(true, Ordering::Release);
        }
    }

    /// Handles all that is whole. Returns how much of the rest is missing at least.
    fn handle_all(&mut self, buffer: &mut BytesMut) -> Result<usize, Lost> {
        let mut messages = Vec::new();
        let mut done = 0;
        let end = loop {
            match protocol::parse(buffer.get(done..).unwrap_or_default()) {
                Ok(Parsed::Whole { packet, size }) => {
                    done += size;
                    if let Err(lost) = self.handle(&packet, &mut messages) {
                        break Err(lost);
                    }
                }
                Ok(Parsed::Partial { missing }) => break Ok(missing),
                Err(fault) => break Err(Lost::Protocol(fault)),
            }
        };
        buffer.advance(done);
        self.listener.handle_messages(
            &mut messages.iter().map(|(topic, data): &(String, Bytes)| (&**topic, data.clone())),
        );
        end
    }

    fn handle(
        &mut self,
        packet: &Packet<'_>,
        messages: &mut Vec<(String, Bytes)>,
    ) -> Result<(), Lost> {
        match *packet {
            Packet::Publish { topic, qos, id, payload } => {
                let known = qos == 2 && !self.received.insert(id);
                if let Some(topic) = self.shared.topics.of_server(topic).filter(|_| !known) {
                    // Copied, so that a small message that is kept does not keep all that was read with it.
                    messages.push((topic, Bytes::copy_from_slice(payload)));
                }
                match qos {
                    0 => Ok(()),
                    1 => self.answer(Step::Taken, id),
                    _ => self.answer(Step::Received, id),
                }
            }
            Packet::Ack { step: Step::Taken | Step::Complete, id } => {
                self.shared.settle(id);
                Ok(())
            }
            Packet::Ack { step: Step::Received, id } => self.answer(Step::Release, id),
            Packet::Ack { step: Step::Release, id } => {
                self.received.remove(&id);
                self.answer(Step::Complete, id)
            }
            Packet::SubAck { refused: 0 } | Packet::PingResp => Ok(()),
            Packet::SubAck { refused } => {
                let trouble = format!("the server refused {refused} of the subscriptions");
                self.listener.handle_event(Event::Trouble(trouble));
                Ok(())
            }
            Packet::ConnAck { .. } => Err(Lost::Protocol("a second CONNACK")),
        }
    }

    fn answer(&self, step: Step, id: u16) -> Result<(), Lost> {
        match self.shared.outbox.answer(self.number, |out| protocol::ack(out, step, id)) {
            true => Ok(()),
            false => Err(Lost::Silent),
        }
    }
}
