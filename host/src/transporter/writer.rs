//! What is to be written to a connection: one buffer, filled by all who publish, written by one of them.
//!
//! A packet costs a copy into the buffer; the system call and the wake-up of the server are paid once for
//! all packets of a moment. A packet that comes alone is written at once. Of those that come together, whoever
//! puts in the first starts a task on its own runtime, which lets everything else that is ready to run there
//! go first and then writes what has come together; [`gather`](super::gather) says when. Handlers that never yield could
//! keep that task from running: after a moment nobody relies on it. What the socket does not take at once, and everything on TLS, is written by the connection's
//! task, in [`Writer::write_rest`].
//!
//! Invariants: bytes are written in the order in which they were put in, by one writer at a time. What is
//! not written when a connection ends is dropped: half of a message must never begin another connection.
//! The buffer takes no packets while it holds [`BUFFER_MAX`]; publishing waits then. Not here: what the
//! bytes mean.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use crate::clock;
use crate::task;
use crate::transporter::Error;
use crate::transporter::gather::{Gathering, Step};

/// Bytes in the buffer from which on publishing waits: some thousand calls. As many may be in a writer's
/// hands at that time.
const BUFFER_MAX: usize = 4 << 20;

/// Buffers that grew larger are given back when they are empty.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// Where bytes go.
pub(super) enum Sink {
    /// A socket on which anybody may write.
    Plain(Arc<OwnedWriteHalf>),
    /// A stream that only the connection's task writes.
    Task(Box<dyn AsyncWrite + Send + Unpin>),
}

/// The buffer and its state.
#[derive(Default)]
pub(super) struct Writer {
    state: Mutex<State>,
    /// There is work for the connection's task.
    work: Notify,
    /// There is room again, or the connection is lost.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// True while there is a connection.
    open: bool,
    /// Grows with every connection, so that a writer of an old one does no harm to a new one.
    connection: u64,
    /// Written by publishers, when they may.
    socket: Option<Arc<OwnedWriteHalf>>,
    buffer: Vec<u8>,
    /// The last writer's buffer, to be used again.
    spare: Vec<u8>,
    /// What a publisher could not write; goes before the buffer. The connection's task takes it.
    rest: Vec<u8>,
    /// True while somebody has bytes in its hands, or `rest` waits for the connection's task.
    writing: bool,
    gathering: Gathering,
}

/// A promise to write. It is kept also when the task that made it ends without having run.
struct Promise(Arc<Writer>);

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.write_now();
    }
}

impl Writer {
    /// Puts in what `fill` appends and sees to it that it is written. Waits only while the buffer is full.
    ///
    /// # Errors
    /// [`Error::NotConnected`]; nothing was put in then.
    pub(super) async fn publish(
        self: &Arc<Self>,
        fill: impl Fn(&mut Vec<u8>),
    ) -> Result<(), Error> {
        loop {
            let room = self.room.notified();
            if let Some(done) = self.try_publish(&fill) {
                return done;
            }
            room.await;
        }
    }

    /// The same as far as it goes without waiting; `None` when the buffer is full.
    pub(super) fn try_publish(
        self: &Arc<Self>,
        fill: impl Fn(&mut Vec<u8>),
    ) -> Option<Result<(), Error>> {
        match self.put(fill) {
            Ok(Some(Step::Wait)) => {}
            Ok(Some(Step::Promise)) => self.promise(),
            Ok(Some(Step::Write)) => self.write_now(),
            Ok(Some(Step::WritePiece)) => self.write(false),
            Ok(None) => {
                self.write_now();
                return None;
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(()))
    }

    /// `None` when there is no room.
    fn put(&self, fill: impl Fn(&mut Vec<u8>)) -> Result<Option<Step>, Error> {
        let now = clock::now();
        let mut state = self.state.lock();
        if !state.open {
            return Err(Error::NotConnected);
        }
        if state.buffer.len() >= BUFFER_MAX {
            return Ok(None);
        }
        fill(&mut state.buffer);
        let State { gathering, buffer, writing, .. } = &mut *state;
        Ok(Some(gathering.added(now, buffer.len(), *writing)))
    }

    /// Writes after everything that is ready to run on this runtime now. A runtime of one thread may not
    /// run for as long as its owner likes; there, and outside of any, it is written at once.
    fn promise(self: &Arc<Self>) {
        let promise = Promise(Arc::clone(self));
        match Handle::try_current() {
            Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
                task::spawn_on(&runtime, "transporter write", async move {
                    let _promise = promise;
                    tokio::task::yield_now().await;
                });
            }
            _ => drop(promise),
        }
    }

    /// Puts in the few bytes that keep a connection going, also when the buffer is full, and writes them.
    ///
    /// # Errors
    /// [`Error::NotConnected`]
    pub(super) fn say(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(Error::NotConnected);
        }
        fill(&mut state.buffer);
        drop(state);
        self.write_now();
        Ok(())
    }

    /// There is a new connection, whose sink has this [`Sink::socket`]. What `greet` appends goes before
    /// everything that is published on it.
    pub(super) fn open(
        &self,
        socket: Option<Arc<OwnedWriteHalf>>,
        greet: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut state = self.state.lock();
        state.socket = socket;
        greet(&mut state.buffer);
        state.open = true;
        drop(state);
        self.write_now();
    }

    /// The connection is lost: what is not written is dropped, and nobody waits any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        *state = State { connection: state.connection + 1, ..State::default() };
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
        if !state.open || state.writing || state.buffer.is_empty() {
            // Whoever writes now looks again when it is done.
            return;
        }
        let Some(socket) = state.socket.clone() else {
            drop(state);
            self.work.notify_one();
            return;
        };
        let connection = state.connection;
        let mut bytes = self.begin(&mut state);
        drop(state);
        loop {
            let written = write_available(&socket, &bytes);
            if written < bytes.len() {
                bytes.drain(..written);
                self.hand_over(connection, bytes);
                return;
            }
            match self.next(connection, bytes) {
                Some(more) => bytes = more,
                None => return,
            }
        }
    }

    /// Writes for publishers that cannot, until the connection fails; why it did.
    pub(super) async fn write_rest(&self, sink: &mut Sink) -> std::io::Error {
        loop {
            self.work.notified().await;
            let Some((connection, mut bytes)) = self.take() else { continue };
            loop {
                if let Err(error) = sink.write(&bytes).await {
                    return error;
                }
                match self.next(connection, bytes) {
                    Some(more) => bytes = more,
                    None => break,
                }
            }
        }
    }

    /// What there is to write for the connection's task.
    fn take(&self) -> Option<(u64, Vec<u8>)> {
        let mut state = self.state.lock();
        let bytes = if !state.rest.is_empty() {
            std::mem::take(&mut state.rest)
        } else if !state.writing && !state.buffer.is_empty() {
            self.begin(&mut state)
        } else {
            return None;
        };
        Some((state.connection, bytes))
    }

    /// Takes the buffer out to write it.
    fn begin(&self, state: &mut State) -> Vec<u8> {
        if state.buffer.len() >= BUFFER_MAX {
            self.room.notify_waiters();
        }
        state.writing = true;
        let spare = std::mem::take(&mut state.spare);
        std::mem::replace(&mut state.buffer, spare)
    }

    /// These bytes are written. Gives those that came meanwhile and that nobody else is going to write.
    fn next(&self, connection: u64, mut written: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        if state.connection != connection {
            return None;
        }
        written.clear();
        if written.capacity() <= BUFFER_KEPT_MAX {
            state.spare = written;
        }
        if state.gathering.promised() || state.buffer.is_empty() {
            state.writing = false;
            return None;
        }
        Some(self.begin(&mut state))
    }

    /// The socket does not take these bytes now, or has failed: the connection's task finds out which.
    fn hand_over(&self, connection: u64, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        if state.connection == connection {
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

impl Sink {
    /// Where anybody may write; none when only the connection's task may.
    pub(super) fn socket(&self) -> Option<Arc<OwnedWriteHalf>> {
        match self {
            Self::Plain(socket) => Some(Arc::clone(socket)),
            Self::Task(_) => None,
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Task(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Plain(socket) => {
                while !bytes.is_empty() {
                    socket.writable().await?;
                    match socket.try_write(bytes) {
                        Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                        Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }
}
