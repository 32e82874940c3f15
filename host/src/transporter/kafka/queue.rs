//! What waits to be written: bounded, in the order in which it came, emptied by the task that writes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::transporter::{Error, room};

/// Bytes of all messages that wait, from which on sending waits.
const SIZE_MAX: usize = 16 << 20;

/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 128;

/// A message and where it goes.
pub(super) type Message = (Arc<str>, Bytes);

/// The queue.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something came in.
    work: Notify,
    /// Something was taken or written, or the connection is lost.
    room: Notify,
}

#[derive(Default)]
struct State {
    /// True while there is a connection.
    open: bool,
    waiting: VecDeque<Message>,
    size: usize,
    /// True while what was taken is not written.
    writing: bool,
}

impl Queue {
    /// There is a connection.
    pub(super) fn open(&self) {
        self.state.lock().open = true;
    }

    /// There is none any more: what waits is dropped, and nobody waits any longer.
    pub(super) fn close(&self) {
        *self.state.lock() = State::default();
        self.room.notify_waiters();
    }

    /// Puts a message in. Waits only while too much is there.
    pub(super) async fn put(&self, topic: &str, data: &Bytes) -> Result<(), Error> {
        room::retry(&self.room, || self.try_put(topic, data)).await
    }

    /// `None` when too much is there.
    fn try_put(&self, topic: &str, data: &Bytes) -> Option<Result<(), Error>> {
        let mut state = self.state.lock();
        if !state.open {
            return Some(Err(Error::NotConnected));
        }
        if state.size >= SIZE_MAX {
            return None;
        }
        state.size += data.len() + MESSAGE_COST;
        state.waiting.push_back((topic.into(), data.clone()));
        drop(state);
        self.work.notify_one();
        Some(Ok(()))
    }

    /// Waits for messages and takes so many bytes of them, at least one.
    pub(super) async fn take(&self, size_max: usize) -> Vec<Message> {
        loop {
            let taken = self.try_take(size_max);
            self.room.notify_waiters();
            if !taken.is_empty() {
                return taken;
            }
            self.work.notified().await;
        }
    }

    fn try_take(&self, size_max: usize) -> Vec<Message> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some((_, data)) = state.waiting.front() {
            let cost = data.len() + MESSAGE_COST;
            if size > 0 && size + cost > size_max {
                break;
            }
            size += cost;
            taken.extend(state.waiting.pop_front());
        }
        state.size = state.size.saturating_sub(size);
        state.writing = !taken.is_empty();
        taken
    }

    /// Waits until everything is written, or cannot be any more.
    pub(super) async fn flush(&self) {
        let written = || {
            let state = self.state.lock();
            (state.waiting.is_empty() && !state.writing).then_some(())
        };
        room::retry(&self.room, written).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn messages_are_taken_in_their_order_as_many_as_fit() {
        let queue = Queue::default();
        let data = Bytes::from(vec![0; 1_000]);
        assert!(matches!(queue.put("a", &data).await, Err(Error::NotConnected)));
        queue.open();
        for topic in ["a", "b", "c"] {
            queue.put(topic, &data).await.unwrap();
        }
        let topics =
            |taken: Vec<Message>| taken.iter().map(|(t, _)| t.to_string()).collect::<Vec<_>>();
        assert_eq!(topics(queue.take(2_500).await), ["a", "b"]);
        assert!(queue.flush().now_or_never().is_none());
        assert_eq!(topics(queue.take(1).await), ["c"]);
        assert!(queue.take(1).now_or_never().is_none());
        assert!(queue.flush().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_read_makes_senders_wait_and_a_loss_ends_that() {
        let queue = Queue::default();
        queue.open();
        let data = Bytes::from(vec![0; SIZE_MAX / 4]);
        for _ in 0..4 {
            queue.put("a", &data).await.unwrap();
        }
        let mut waiting = Box::pin(queue.put("a", &data));
        assert!(waiting.as_mut().now_or_never().is_none());
        queue.take(1).await;
        waiting.await.unwrap();
        let waiting = queue.put("a", &data);
        queue.close();
        assert!(matches!(waiting.await, Err(Error::NotConnected)));
    }
}
