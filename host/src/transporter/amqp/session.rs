//! One connection to an AMQP server: the handshake, reading, acknowledging, signs of life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::clock;
use crate::config::transporter::amqp::Options;
use crate::transporter::address::Address;
use crate::transporter::amqp::protocol::{self, Frame, Method, Parsed};
use crate::transporter::amqp::topology::{self, Listened, Names};
use crate::transporter::link::{self, Client, Lost, Outbox, Socket, causes};
use crate::transporter::receipt::{self, Receipt};
use crate::transporter::{Error, Event, Listener};

/// How long a server may take to let a client in.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to make queues.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest frame that is asked for, in bytes.
const FRAME_MAX: usize = 128 << 10;

/// Largest message that is read, in bytes. Larger ones are dropped, but not their connection: they would
/// come again on the next.
const MESSAGE_MAX: u64 = 64 << 20;

/// How often to say that this side lives, when the server does not ask for more.
const HEARTBEAT_S: u16 = 10;

/// What publishers and the connection's task share. Where both locks are held, `consumers` was taken first.
pub(super) struct Shared {
    pub(super) outbox: Outbox,
    pub(super) names: Names,
    pub(super) options: Options,
    /// Largest frame that the server takes, in bytes.
    frame_max: AtomicUsize,
    consumers: Mutex<Consumers>,
    /// The server has done something, or the connection is lost.
    progress: Notify,
}

/// To what this node listens.
#[derive(Default)]
struct Consumers {
    /// By their numbers, which are their names for the server.
    all: BTreeMap<usize, Consumer>,
    last: usize,
    /// Number of the connection; `None` while there is none.
    connection: Option<u64>,
    /// How often the server was asked to confirm everything before, and has.
    asked: u64,
    confirmed: u64,
    /// Why the last connection was lost.
    lost: Option<String>,
}

struct Consumer {
    listened: Listened,
    /// Whether other nodes listen to the queue, too.
    shared: bool,
    /// Whether the server has accepted it, so that it is asked for again on the next connection.
    confirmed: bool,
}

impl Shared {
    pub(super) fn new(names: Names, options: Options) -> Self {
        Self {
            outbox: Outbox::default(),
            names,
            options,
            frame_max: AtomicUsize::new(protocol::FRAME_MIN),
            consumers: Mutex::default(),
            progress: Notify::new(),
        }
    }

    pub(super) fn frame_max(&self) -> usize {
        self.frame_max.load(Ordering::Relaxed)
    }

    /// Listens to further queues, and returns when the server has made them.
    pub(super) async fn listen(&self, wanted: Vec<Listened>, shared: bool) -> Result<(), Error> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut numbers = Vec::new();
        let (connection, target) = {
            let mut consumers = self.consumers.lock();
            let connection = consumers.connection.ok_or(Error::NotConnected)?;
            for listened in wanted {
                consumers.last += 1;
                numbers.push(consumers.last);
                let last = consumers.last;
                consumers.all.insert(last, Consumer { listened, shared, confirmed: false });
            }
            consumers.asked += 1;
            let said = self.outbox.answer(connection, |out| {
                for number in &numbers {
                    if let Some(consumer) = consumers.all.get(number) {
                        consumer.listened.begin(out, *number, &self.options);
                    }
                }
                topology::qos(out, self.options.prefetch);
            });
            (said.then_some(connection), consumers.asked)
        };
        let done = match connection {
            Some(connection) => self.confirmed(connection, target).await,
            None => Err(Error::NotConnected),
        };
        let mut consumers = self.consumers.lock();
        for number in numbers {
            if done.is_err() {
                consumers.all.remove(&number);
            } else if let Some(consumer) = consumers.all.get_mut(&number) {
                consumer.confirmed = true;
            }
        }
        done
    }

    /// Waits until the server has done everything that it was asked for until then.
    async fn confirmed(&self, connection: u64, target: u64) -> Result<(), Error> {
        let waiting = async {
            loop {
                let progress = self.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                {
                    let consumers = self.consumers.lock();
                    if consumers.connection != Some(connection) {
                        return Err(consumers
                            .lost
                            .clone()
                            .map_or(Error::NotConnected, Error::Refused));
                    }
                    if consumers.confirmed >= target {
                        return Ok(());
                    }
                }
                progress.await;
            }
        };
        let confirmed = tokio::time::timeout(CONFIRM_TIMEOUT, waiting).await;
        confirmed.unwrap_or_else(|_| Err(Error::Refused("the server does not answer".into())))
    }

    /// Listens to these shared queues and to no others.
    pub(super) async fn share(&self, mut wanted: Vec<Listened>) -> Result<(), Error> {
        {
            let mut consumers = self.consumers.lock();
            let connection = consumers.connection.ok_or(Error::NotConnected)?;
            consumers.all.retain(|number, consumer| {
                let keep = !consumer.shared || wanted.contains(&consumer.listened);
                if !keep {
                    self.outbox.answer(connection, |out| topology::cancel(out, *number));
                }
                keep
            });
            let known = |wanted: &Listened| {
                consumers.all.values().any(|consumer| consumer.listened == *wanted)
            };
            wanted.retain(|wanted| !known(wanted));
        }
        self.listen(wanted, true).await
    }

    /// Takes this node's queues away from all exchanges.
    pub(super) fn unbind_all(&self, out: &mut Vec<u8>) {
        self.consumers.lock().all.values().for_each(|consumer| consumer.listened.unbind(out));
    }

    /// There is a connection: everything that was accepted before is asked for again.
    fn begin(&self) -> u64 {
        let mut consumers = self.consumers.lock();
        let connection = self.outbox.open();
        consumers.connection = Some(connection);
        (consumers.asked, consumers.confirmed, consumers.lost) = (1, 0, None);
        self.outbox.answer(connection, |out| {
            topology::qos(out, self.options.prefetch);
            for (number, consumer) in consumers.all.iter().filter(|(_, one)| one.confirmed) {
                consumer.listened.begin(out, *number, &self.options);
            }
        });
        connection
    }

    fn end(&self, lost: &Lost) {
        let mut consumers = self.consumers.lock();
        consumers.connection = None;
        consumers.lost = Some(lost.to_string());
        self.outbox.close();
        drop(consumers);
        self.progress.notify_waiters();
    }

    /// The queue of a consumer, and whether its messages are acknowledged.
    fn consumer(&self, name: &str) -> Option<(String, bool)> {
        let consumers = self.consumers.lock();
        let consumer = consumers.all.get(&name.parse().ok()?)?;
        Some((consumer.listened.queue.clone(), consumer.listened.acknowledged))
    }
}

/// The client's side.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) servers: Vec<Address>,
    /// How the server's monitoring calls this connection.
    pub(super) client_name: String,
}

/// A connection that was accepted.
pub(super) struct Session {
    socket: Socket,
    /// Its number in the outbox.
    number: u64,
    heartbeat: Duration,
}

impl Client for Connection {
    type Session = Session;

    async fn connect(&mut self) -> Result<Session, String> {
        let mut failed = Vec::new();
        for server in &self.servers {
            let opening = self.open(server);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, opening).await {
                Ok(Ok((socket, heartbeat))) => {
                    let number = self.shared.begin();
                    return Ok(Session { socket, number, heartbeat });
                }
                Ok(Err(lost)) => failed.push((server.to_string(), lost)),
                Err(_) => failed.push((server.to_string(), Lost::Silent)),
            }
        }
        Err(causes(&failed))
    }

    async fn serve(&mut self, session: Session) -> Lost {
        let Socket { mut source, mut sink, mut buffer } = session.socket;
        let alive = AtomicBool::new(true);
        let reader = Reader {
            shared: &self.shared,
            listener: &self.listener,
            number: session.number,
            content: None,
            messages: Vec::new(),
        };
        let lost = tokio::select! {
            lost = reader.read(&mut *source, &mut buffer, &alive) => lost,
            error = self.shared.outbox.write_to(&mut *sink) => Lost::Io(error),
            lost = self.stay_alive(session.number, session.heartbeat, &alive) => lost,
        };
        self.shared.end(&lost);
        lost
    }

    fn listener(&self) -> Arc<dyn Listener> {
        Arc::clone(&self.listener)
    }

    fn outbox(&self) -> &Outbox {
        &self.shared.outbox
    }
}

impl Connection {
    /// Connects, logs in, agrees on limits and opens the channel.
    async fn open(&self, server: &Address) -> Result<(Socket, Duration), Lost> {
        let mut socket = Socket::open(server).await?;
        socket.write(b"AMQP\0\0\x09\x01").await?;
        expect(&mut socket, |method| matches!(method, Method::Start).then_some(())).await?;
        socket.write(&self.start_ok(server)).await?;
        let (channel_max, frame_max, heartbeat_s) = expect(&mut socket, |method| match *method {
            Method::Tune { channel_max, frame_max, heartbeat_s } => {
                Some((channel_max, frame_max, heartbeat_s))
            }
            _ => None,
        })
        .await?;
        let frame_max = match usize::try_from(frame_max).unwrap_or(FRAME_MAX) {
            0 => FRAME_MAX,
            limit => limit.clamp(protocol::FRAME_MIN, FRAME_MAX),
        };
        let heartbeat_s = if heartbeat_s == 0 { HEARTBEAT_S } else { heartbeat_s.min(HEARTBEAT_S) };
        let vhost = server.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let mut out = Vec::new();
        protocol::method(&mut out, 0, (10, 31), |out| {
            out.short(channel_max).long(u32::try_from(frame_max).unwrap_or(0)).short(heartbeat_s);
        });
        protocol::method(&mut out, 0, (10, 40), |out| {
            out.short_text(vhost).short_text("").byte(0);
        });
        socket.write(&out).await?;
        expect(&mut socket, |method| matches!(method, Method::OpenOk).then_some(())).await?;
        out.clear();
        protocol::method(&mut out, protocol::CHANNEL, (20, 10), |out| {
            out.short_text("");
        });
        socket.write(&out).await?;
        expect(&mut socket, |method| matches!(method, Method::ChannelOpenOk).then_some(())).await?;
        self.shared.frame_max.store(frame_max, Ordering::Relaxed);
        Ok((socket, Duration::from_secs(heartbeat_s.into())))
    }

    fn start_ok(&self, server: &Address) -> Vec<u8> {
        let about = json!({
            "product": "isomer",
            "connection_name": self.client_name,
            "capabilities": {
                "authentication_failure_close": true,
                "consumer_cancel_notify": true,
                "connection.blocked": true,
            },
        });
        let about = about.as_object().cloned().unwrap_or_else(Map::<String, Value>::new);
        let (user, password) = match &server.login {
            Some(login) => (&*login.user, &*login.password),
            None => ("guest", "guest"),
        };
        let mut out = Vec::new();
        protocol::method(&mut out, 0, (10, 11), |out| {
            out.table(&about).short_text("PLAIN");
            out.long_text(&format!("\0{user}\0{password}")).short_text("en_US");
        });
        out
    }

    /// Says that this side lives, twice as often as the server wants to hear it, and listens for the same.
    async fn stay_alive(&self, number: u64, heartbeat: Duration, alive: &AtomicBool) -> Lost {
        let period = heartbeat / 2;
        let mut ticks = interval_at(clock::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            ticks.tick().await;
            silent = if alive.swap(false, Ordering::AcqRel) { 0 } else { silent + 1 };
            if silent >= 4 || !self.shared.outbox.answer(number, protocol::heartbeat) {
                return Lost::Silent;
            }
        }
    }
}

/// Reads until the server says what is wanted.
async fn expect<T>(
    socket: &mut Socket,
    wanted: impl Fn(&Method<'_>) -> Option<T>,
) -> Result<T, Lost> {
    loop {
        let parsed = protocol::parse(&socket.buffer, FRAME_MAX).map_err(Lost::Protocol)?;
        let (found, size) = match parsed {
            Parsed::Whole { frame: Frame::Heartbeat, size } => (None, size),
            Parsed::Whole { frame: Frame::Method(Method::Close { text, .. }), .. } => {
                return Err(Lost::Refused(text.to_owned()));
            }
            Parsed::Whole { frame: Frame::Method(method), size } => {
                let found = wanted(&method);
                (Some(found.ok_or(Lost::Protocol("an answer to nothing"))?), size)
            }
            Parsed::Whole { .. } => return Err(Lost::Protocol("a message before the handshake")),
            Parsed::Partial { missing } => {
                socket.read(missing).await?;
                continue;
            }
        };
        socket.buffer.advance(size);
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

/// What reads a connection.
struct Reader<'a> {
    shared: &'a Arc<Shared>,
    listener: &'a Arc<dyn Listener>,
    number: u64,
    /// A message that is coming.
    content: Option<Content>,
    /// Whole messages that have not been handed on.
    messages: Vec<(String, Bytes)>,
}

/// A message that is coming.
struct Content {
    /// Its queue and whether it is acknowledged; `None` when nobody wants it.
    wanted: Option<(String, bool)>,
    tag: u64,
    /// Bytes that are still to come; `None` before its header.
    left: Option<u64>,
    body: Vec<u8>,
}

impl Reader<'_> {
    async fn read(
        mut self,
        source: &mut (dyn AsyncRead + Send + Unpin),
        buffer: &mut BytesMut,
        alive: &AtomicBool,
    ) -> Lost {
        loop {
            let missing = match self.handle_all(buffer) {
                Ok(missing) => missing,
                Err(lost) => return lost,
            };
            if let Err(lost) = link::read_more(source, buffer, missing).await {
                return lost;
            }
            alive.store(true, Ordering::Release);
        }
    }

    /// Handles all that is whole. Returns how much of the rest is missing at least.
    fn handle_all(&mut self, buffer: &mut BytesMut) -> Result<usize, Lost> {
        let mut done = 0;
        let end = loop {
            match protocol::parse(buffer.get(done..).unwrap_or_default(), FRAME_MAX) {
                Ok(Parsed::Whole { frame, size }) => {
                    done += size;
                    if let Err(lost) = self.handle(&frame) {
                        break Err(lost);
                    }
                }
                Ok(Parsed::Partial { missing }) => break Ok(missing),
                Err(fault) => break Err(Lost::Protocol(fault)),
            }
        };
        buffer.advance(done);
        self.hand_on();
        end
    }

    fn handle(&mut self, frame: &Frame<'_>) -> Result<(), Lost> {
        match frame {
            Frame::Heartbeat => Ok(()),
            Frame::Method(method) => self.handle_method(method),
            Frame::Header { size } => self.handle_header(*size),
            Frame::Body(part) => self.handle_body(part),
        }
    }

    fn handle_method(&mut self, method: &Method<'_>) -> Result<(), Lost> {
        match *method {
            Method::Deliver { consumer, tag } => {
                let wanted = self.shared.consumer(consumer);
                self.expect_content(wanted, tag)
            }
            Method::Return => self.expect_content(None, 0),
            Method::QosOk => {
                self.shared.consumers.lock().confirmed += 1;
                self.shared.progress.notify_waiters();
                Ok(())
            }
            Method::Close { text, .. } => Err(Lost::Refused(text.to_owned())),
            Method::CloseOk => Err(Lost::Closed),
            Method::Cancel { consumer } => {
                let queue =
                    self.shared.consumer(consumer).map_or_else(String::new, |(name, _)| name);
                Err(Lost::Refused(format!("queue '{queue}' was deleted")))
            }
            Method::Blocked { reason } => {
                let trouble = format!("the server takes no messages for now: {reason}");
                self.listener.handle_event(Event::Trouble(trouble));
                Ok(())
            }
            Method::Flow { active } => self.answer(|out| {
                protocol::method(out, protocol::CHANNEL, (20, 21), |out| {
                    out.byte(active.into());
                });
            }),
            Method::Unblocked | Method::Other => Ok(()),
            Method::Start | Method::Tune { .. } | Method::OpenOk | Method::ChannelOpenOk => {
                Err(Lost::Protocol("a second handshake"))
            }
        }
    }

    fn expect_content(&mut self, wanted: Option<(String, bool)>, tag: u64) -> Result<(), Lost> {
        if self.content.is_some() {
            return Err(Lost::Protocol("a message within a message"));
        }
        self.content = Some(Content { wanted, tag, left: None, body: Vec::new() });
        Ok(())
    }

    fn handle_header(&mut self, size: u64) -> Result<(), Lost> {
        let content = self.content.as_mut().filter(|content| content.left.is_none());
        let content = content.ok_or(Lost::Protocol("a header of no message"))?;
        content.left = Some(size);
        if size > MESSAGE_MAX
            && let Some((queue, acknowledged)) = content.wanted.take()
        {
            let trouble = format!("a message of {size} bytes in queue '{queue}' was dropped");
            self.listener.handle_event(Event::Trouble(trouble));
            let tag = content.tag;
            if acknowledged {
                self.answer(|out| topology::ack(out, tag))?;
            }
        }
        self.finish_content(size)
    }

    fn handle_body(&mut self, part: &[u8]) -> Result<(), Lost> {
        const FAULT: Lost = Lost::Protocol("a body of no message");
        let content = self.content.as_mut().ok_or(FAULT)?;
        let size = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let left = content.left.and_then(|left| left.checked_sub(size)).ok_or(FAULT)?;
        content.left = Some(left);
        if content.wanted.is_some() {
            content.body.extend_from_slice(part);
        }
        self.finish_content(left)
    }

    /// Hands a message on when nothing is left to come.
    fn finish_content(&mut self, left: u64) -> Result<(), Lost> {
        if left > 0 {
            return Ok(());
        }
        let Some(Content { wanted: Some((topic, acknowledged)), tag, body, .. }) =
            self.content.take()
        else {
            return Ok(());
        };
        if !acknowledged {
            self.messages.push((topic, body.into()));
            return Ok(());
        }
        // Messages stay in their order.
        self.hand_on();
        let (shared, number) = (Arc::clone(self.shared), self.number);
        let receipt = Receipt::new(move || {
            // On another connection the server has given the message to somebody else.
            shared.outbox.answer(number, |out| topology::ack(out, tag));
        });
        receipt::deliver(receipt, || self.listener.handle_message(&topic, body.into()));
        Ok(())
    }

    fn hand_on(&mut self) {
        if !self.messages.is_empty() {
            let messages = std::mem::take(&mut self.messages);
            let mut messages = messages.iter().map(|(topic, data)| (&**topic, data.clone()));
            self.listener.handle_messages(&mut messages);
        }
    }

    fn answer(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Lost> {
        if self.shared.outbox.answer(self.number, write) { Ok(()) } else { Err(Lost::Silent) }
    }
}
