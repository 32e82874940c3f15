//! What is to be written to one node: a buffer that is filled by all who publish.
//!
//! As on NATS, a packet costs a copy and the system call is paid once for all packets of a moment: a packet
//! that comes alone is written at once; of those that come together, whoever puts in the first promises to write, lets
//! everything else that is ready to run go first and writes what has come together
//! ([`gather`](crate::transporter::gather) says when). What the socket does not take at once is written by the
//! connection's task. Until the connection is made the buffer collects.
//!
//! Invariants: bytes are written in the order in which they were put in, by one writer at a time; the
//! buffer holds at most [`BATCH_MAX`] bytes or one packet, so that no single write is larger than what a
//! JavaScript node takes at once; a lost connection takes everything with it that is not written.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use crate::clock;
use crate::task;
use crate::transporter::Error;
use crate::transporter::gather::{Gathering, Step};
use crate::transporter::tcp::frame;

/// Bytes from which on publishing waits. A JavaScript node closes a connection of which it has more than
/// `maxPacketSize` in its hands, which is 1 MiB unless it was told otherwise.
const BATCH_MAX: usize = 512 << 10;

/// How long a node may take to take anything at all of what lies there for it.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Buffers that grew larger are given back when they are empty.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// The buffer and its state.
pub(super) struct Outbox {
    state: Mutex<State>,
    /// There is work for the connection's task.
    work: Notify,
    /// There is room again, or the connection has ended.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// Written by publishers; `None` while the connection is being made.
    socket: Option<Arc<OwnedWriteHalf>>,
    /// True once nothing more is taken, while what is there is still written.
    finishing: bool,
    /// True once the connection has ended.
    closed: bool,
    buffer: Vec<u8>,
    /// The last writer's buffer, to be used again.
    spare: Vec<u8>,
    /// What a publisher could not write; goes before the buffer. The connection's task takes it.
    rest: Vec<u8>,
    /// True while somebody has bytes in its hands, or `rest` waits for the connection's task.
    writing: bool,
    /// Nobody promises to write while there is no connection yet, or when it is being finished.
    gathering: Gathering,
}

/// A promise to write. It is kept also when the task that made it ends without having run.
struct Promise(Arc<Outbox>);

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.write_now();
    }
}

/// How writing ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// Everything is written, as was asked for.
    #[error("finished")]
    Finished,
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The other side takes nothing.
    #[error("it has read nothing for {STALL_MAX:?}")]
    Stalled,
}

impl Outbox {
    /// A buffer for a connection that is being made, whose first frame is there already.
    pub(super) fn new(number: u8, first: &[u8]) -> Self {
        let mut state = State::default();
        frame::write(&mut state.buffer, number, first);
        Self { state: Mutex::new(state), work: Notify::new(), room: Notify::new() }
    }

    /// Puts a packet in and sees to it that it is written. Waits while there is no room, unless `wait` is
    /// false: then the packet is refused.
    pub(super) async fn publish(
        self: &Arc<Self>,
        number: u8,
        packet: &[u8],
        wait: bool,
    ) -> Result<(), Error> {
        let mut waited = false;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Before looking, so that room which comes in between is not missed.
            room.as_mut().enable();
            match self.put(number, packet, waited)? {
                Some(step) => {
                    self.go_on(step);
                    return Ok(());
                }
                None if !wait => {
                    return Err(Error::Refused("too much waits for that node".into()));
                }
                None => {
                    self.write_now();
                    room.await;
                    waited = true;
                }
            }
        }
    }

    /// Puts a packet in if that needs no waiting, and sees to it that it is written. `None` leaves it to
    /// [`Outbox::publish`], which also knows what is wrong.
    pub(super) fn try_publish(self: &Arc<Self>, number: u8, packet: &[u8]) -> Option<()> {
        self.go_on(self.put(number, packet, false).ok().flatten()?);
        Some(())
    }

    fn go_on(self: &Arc<Self>, step: Step) {
        match step {
            Step::Wait => {}
            Step::Promise => self.promise(),
            Step::Write => self.write_now(),
            Step::WritePiece => self.write(false),
        }
    }

    /// `None` when there is no room. The error is [`Error::NotConnected`] when another connection may be tried: not for a packet that has
    /// `waited` for this one until it was lost.
    fn put(&self, number: u8, packet: &[u8], waited: bool) -> Result<Option<Step>, Error> {
        let now = clock::now();
        let mut state = self.state.lock();
        if state.closed && waited && !state.finishing {
            return Err(Error::Refused("the connection to that node was lost".into()));
        }
        if state.closed || state.finishing {
            return Err(Error::NotConnected);
        }
        let size = packet.len() + frame::HEADER_SIZE;
        if !state.buffer.is_empty() && state.buffer.len() + size > BATCH_MAX {
            return Ok(None);
        }
        frame::write(&mut state.buffer, number, packet);
        if state.socket.is_none() {
            // Written when the connection is there.
            return Ok(Some(Step::Wait));
        }
        let State { gathering, buffer, writing, .. } = &mut *state;
        Ok(Some(gathering.added(now, buffer.len(), *writing)))
    }

    /// Writes after everything that is ready to run on this runtime now. A runtime of one thread may not
    /// run for as long as its owner likes; there, and outside of any, it is written at once.
    fn promise(self: &Arc<Self>) {
        let promise = Promise(Arc::clone(self));
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
                task::spawn_on(&runtime, "tcp write", async move {
                    let _promise = promise;
                    tokio::task::yield_now().await;
                });
            }
            _ => drop(promise),
        }
    }

    /// The connection is there.
    pub(super) fn open(&self, socket: Arc<OwnedWriteHalf>) {
        self.state.lock().socket = Some(socket);
        self.write_now();
    }

    /// Takes nothing more; [`Outbox::write_rest`] ends when all is written.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        state.finishing = true;
        state.gathering.end_promise();
        drop(state);
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// The connection has ended: what is not written is dropped, and nobody waits any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        *state = State { closed: true, finishing: state.finishing, ..State::default() };
        drop(state);
        self.room.notify_waiters();
    }

    /// Writes what is in the buffer, from this thread, as far as the socket takes it.
    fn write_now(&self) {
        self.write(true);
    }

    /// The same; a promise to write what comes after it stands, unless it is what is kept here.
    fn write(&self, keeps_promise: bool) {
        let mut state = self.state.lock();
        if keeps_promise {
            state.gathering.end_promise();
        }
        if state.writing || state.buffer.is_empty() {
            // Whoever writes now looks again when it is done.
            return;
        }
        let Some(socket) = state.socket.clone() else { return };
        let mut bytes = self.begin(&mut state);
        drop(state);
        loop {
            let written = write_available(&socket, &bytes);
            if written < bytes.len() {
                bytes.drain(..written);
                self.hand_over(bytes);
                return;
            }
            match self.next(bytes) {
                Some(more) => bytes = more,
                None => return,
            }
        }
    }

    /// Writes for publishers that cannot, until the connection fails or is finished.
    pub(super) async fn write_rest(&self, socket: &OwnedWriteHalf) -> Ended {
        loop {
            let Some(mut bytes) = self.take() else {
                if self.finished() {
                    return Ended::Finished;
                }
                self.work.notified().await;
                continue;
            };
            loop {
                if let Err(ended) = write_all(socket, &bytes).await {
                    return ended;
                }
                match self.next(bytes) {
                    Some(more) => bytes = more,
                    None => break,
                }
            }
        }
    }

    fn finished(&self) -> bool {
        let state = self.state.lock();
        state.closed || state.finishing && !state.writing && state.buffer.is_empty()
    }

    /// What there is to write for the connection's task.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        if !state.rest.is_empty() {
            return Some(std::mem::take(&mut state.rest));
        }
        let last = state.finishing && !state.writing && !state.buffer.is_empty();
        last.then(|| self.begin(&mut state))
    }

    /// Takes the buffer out to write it.
    fn begin(&self, state: &mut State) -> Vec<u8> {
        state.writing = true;
        let spare = std::mem::take(&mut state.spare);
        let bytes = std::mem::replace(&mut state.buffer, spare);
        self.room.notify_waiters();
        bytes
    }

    /// These bytes are written. Gives those that came meanwhile and that nobody else is going to write.
    fn next(&self, mut written: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        written.clear();
        if written.capacity() <= BUFFER_KEPT_MAX {
            state.spare = written;
        }
        if state.closed || state.gathering.promised() || state.buffer.is_empty() {
            state.writing = false;
            if state.finishing {
                self.work.notify_one();
            }
            return None;
        }
        Some(self.begin(&mut state))
    }

    /// The socket does not take these bytes now, or has failed: the connection's task finds out which.
    fn hand_over(&self, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        if !state.closed {
            state.rest = bytes;
            drop(state);
            self.work.notify_one();
        }
    }
}

/// How many of the bytes a socket took without waiting.
fn write_available(socket: &OwnedWriteHalf, bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match socket.try_write(rest) {
            Ok(0) | Err(_) => break,
            Ok(n) => written += n,
        }
    }
    written
}

/// Writes all of it, as long as the other side takes some of it from time to time.
async fn write_all(socket: &OwnedWriteHalf, mut bytes: &[u8]) -> Result<(), Ended> {
    while !bytes.is_empty() {
        let writable = tokio::time::timeout(STALL_MAX, socket.writable());
        writable.await.map_err(|_| Ended::Stalled)??;
        match socket.try_write(bytes) {
            Ok(0) => return Err(Ended::Io(std::io::ErrorKind::WriteZero.into())),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Ended::Io(error)),
        }
    }
    Ok(())
}
