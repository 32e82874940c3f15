//! What is to be written to a connection: one buffer, filled by all who send, emptied by the connection's
//! task.
//!
//! Invariants: bytes are written in the order in which they were put in, whole packets only. What is not
//! written when a connection ends is dropped: half a packet must never begin another connection. The buffer
//! takes nothing more while it holds [`BUFFER_MAX`]; sending waits then.

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::transporter::{Error, room};

/// Bytes in the buffer from which on sending waits. As many may be in the writer's hands at that time.
const BUFFER_MAX: usize = 4 << 20;

/// Bytes from which on even answers that the protocol demands find no room: a server that asks and asks
/// but does not read.
const ANSWERS_MAX: usize = 2 * BUFFER_MAX;

/// A buffer that grew larger is given back when it is empty.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// The buffer.
#[derive(Default)]
pub(in crate::transporter) struct Outbox {
    state: Mutex<State>,
    /// There is something to write.
    work: Notify,
    /// Something was written, or the connection is lost.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// True while there is a connection.
    open: bool,
    /// Grows with every connection, so that what belongs to an old one is not said on a new one.
    connection: u64,
    buffer: Vec<u8>,
    /// True when nothing more is to be said: the server is asked to end the connection.
    finished: bool,
}

impl Outbox {
    /// There is a connection; gives its number.
    pub(in crate::transporter) fn open(&self) -> u64 {
        let mut state = self.state.lock();
        let connection = state.connection + 1;
        *state = State { open: true, connection, ..State::default() };
        connection
    }

    /// The connection is lost: what is not written is dropped, and nobody waits any more.
    pub(in crate::transporter) fn close(&self) {
        let mut state = self.state.lock();
        let State { connection, finished, .. } = *state;
        *state = State { connection, finished, ..State::default() };
        drop(state);
        self.room.notify_waiters();
    }

    /// Puts packets in. Waits only while the buffer is full.
    pub(in crate::transporter) async fn put(
        &self,
        write: impl Fn(&mut Vec<u8>),
    ) -> Result<(), Error> {
        room::retry(&self.room, || self.try_put(&write)).await
    }

    /// `None` when the buffer is full.
    fn try_put(&self, write: impl Fn(&mut Vec<u8>)) -> Option<Result<(), Error>> {
        let mut state = self.state.lock();
        if !state.open || state.finished {
            return Some(Err(Error::NotConnected));
        }
        if state.buffer.len() >= BUFFER_MAX {
            return None;
        }
        write(&mut state.buffer);
        drop(state);
        self.work.notify_one();
        Some(Ok(()))
    }

    /// Puts in what the protocol demands on this connection. False when it is lost, or does not read what
    /// it asks for.
    pub(in crate::transporter) fn answer(
        &self,
        connection: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let mut state = self.state.lock();
        if !state.open || state.connection != connection || state.buffer.len() >= ANSWERS_MAX {
            return false;
        }
        write(&mut state.buffer);
        drop(state);
        self.work.notify_one();
        true
    }

    /// Writes whatever is put in, until the connection fails; why it did.
    pub(in crate::transporter) async fn write_to(
        &self,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> std::io::Error {
        let mut bytes = Vec::new();
        loop {
            self.work.notified().await;
            while self.take(&mut bytes) {
                if let Err(error) = sink.write_all(&bytes).await {
                    return error;
                }
                if let Err(error) = sink.flush().await {
                    return error;
                }
            }
        }
    }

    /// Exchanges what was written for what is next; false when there is nothing.
    fn take(&self, written: &mut Vec<u8>) -> bool {
        written.clear();
        if written.capacity() > BUFFER_KEPT_MAX {
            *written = Vec::new();
        }
        let mut state = self.state.lock();
        std::mem::swap(&mut state.buffer, written);
        drop(state);
        self.room.notify_waiters();
        !written.is_empty()
    }

    /// Says the last words, and waits until the server has ended the connection: if this side did while
    /// something comes in, the server might never read them. Nothing can be put in afterwards.
    pub(in crate::transporter) async fn finish(&self, write: impl FnOnce(&mut Vec<u8>)) {
        {
            let mut state = self.state.lock();
            if !state.open {
                return;
            }
            state.finished = true;
            write(&mut state.buffer);
        }
        self.work.notify_one();
        room::retry(&self.room, || (!self.state.lock().open).then_some(())).await;
    }

    /// Whether the connection was to end.
    pub(in crate::transporter) fn finished(&self) -> bool {
        self.state.lock().finished
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const CHUNK: usize = 64 << 10;

    fn chunk(buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&[7; CHUNK]);
    }

    #[tokio::test]
    async fn a_connection_that_is_not_read_makes_senders_wait_and_loses_nothing() {
        let outbox = Outbox::default();
        assert!(matches!(outbox.put(chunk).await, Err(Error::NotConnected)));
        let connection = outbox.open();
        for _ in 0..BUFFER_MAX / CHUNK {
            outbox.put(chunk).await.unwrap();
        }
        assert!(outbox.put(chunk).now_or_never().is_none());
        // What the protocol demands still finds room, for a while.
        let answers = (0..).take_while(|_| outbox.answer(connection, chunk)).count();
        assert_eq!(answers, (ANSWERS_MAX - BUFFER_MAX) / CHUNK);
        let (mut near, mut far) = tokio::io::duplex(1_000);
        let writer = outbox.write_to(&mut near);
        let reader = async {
            let mut read = vec![0; ANSWERS_MAX + CHUNK];
            far.read_exact(&mut read).await.unwrap();
        };
        let waiter = outbox.put(chunk);
        tokio::select! {
            error = writer => panic!("{error}"),
            (put, ()) = futures_util::future::join(waiter, reader) => put.unwrap(),
        }
    }

    #[tokio::test]
    async fn nothing_of_a_lost_connection_goes_to_the_next() {
        let outbox = Outbox::default();
        let old = outbox.open();
        outbox.put(chunk).await.unwrap();
        outbox.close();
        assert!(matches!(outbox.put(chunk).await, Err(Error::NotConnected)));
        let new = outbox.open();
        assert!(!outbox.answer(old, chunk));
        assert!(outbox.answer(new, |buffer| buffer.push(1)));
        assert_eq!(outbox.state.lock().buffer, [1]);
    }

    #[tokio::test]
    async fn a_loss_ends_all_waiting() {
        let outbox = Outbox::default();
        outbox.open();
        while outbox.try_put(chunk).is_some() {}
        let mut waiting = Box::pin(outbox.put(chunk));
        assert!(waiting.as_mut().now_or_never().is_none());
        outbox.close();
        assert!(matches!(waiting.await, Err(Error::NotConnected)));
        outbox.finish(chunk).await;
    }

    #[tokio::test]
    async fn last_words_are_the_last_and_end_with_the_connection() {
        let outbox = Outbox::default();
        outbox.open();
        let mut finish = Box::pin(outbox.finish(|buffer| buffer.push(1)));
        assert!(finish.as_mut().now_or_never().is_none());
        assert!(matches!(outbox.put(chunk).await, Err(Error::NotConnected)));
        outbox.close();
        finish.await;
        assert!(outbox.finished());
    }
}
