//! Puts the packets of a stream into their order.
//!
//! Pure bookkeeping. What comes before its turn is kept, within a window of sequence numbers, so that the
//! number of packets that wait is bounded whatever a peer sends; what they weigh is bounded by the caller.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How far ahead of its turn a packet may be. JS sends the pieces of one large chunk at once, which a
/// message broker with several connections may reorder; a thousand of them are 256 MiB.
pub(super) const WINDOW: u32 = 1_024;

/// The order of one stream.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// Whose turn it is.
    next: u32,
    early: BTreeMap<u32, T>,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed<T> {
    /// It is its turn; afterwards [`Order::next`] gives those that waited for it.
    Turn(T),
    /// It waits.
    Kept,
    /// It has come before.
    Duplicate,
    /// It is too far ahead.
    OutOfRange,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { next: 0, early: BTreeMap::new() }
    }
}

impl<T> Order<T> {
    /// Takes a packet.
    pub(super) fn place(&mut self, seq: u32, item: T) -> Placed<T> {
        if seq < self.next {
            return Placed::Duplicate;
        }
        if seq == self.next {
            self.next = self.next.saturating_add(1);
            return Placed::Turn(item);
        }
        if seq - self.next > WINDOW {
            return Placed::OutOfRange;
        }
        match self.early.entry(seq) {
            Entry::Occupied(_) => Placed::Duplicate,
            Entry::Vacant(place) => {
                place.insert(item);
                Placed::Kept
            }
        }
    }

    /// The next packet, when it waits.
    pub(super) fn next(&mut self) -> Option<T> {
        let item = self.early.remove(&self.next)?;
        self.next = self.next.saturating_add(1);
        Some(item)
    }

    /// True while packets wait for one that is missing.
    pub(super) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// The number that is missing, or will come next.
    pub(super) fn awaited(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order in which packets are given on that come in this order.
    fn given_on(seqs: &[u32]) -> Vec<u32> {
        let mut order = Order::default();
        let mut out = Vec::new();
        for seq in seqs {
            if let Placed::Turn(seq) = order.place(*seq, *seq) {
                out.push(seq);
                out.extend(std::iter::from_fn(|| order.next()));
            }
        }
        out
    }

    #[test]
    fn packets_are_given_on_in_their_order_each_once() {
        assert_eq!(given_on(&[0, 1, 2]), [0, 1, 2]);
        assert_eq!(given_on(&[2, 1, 0]), [0, 1, 2]);
        assert_eq!(given_on(&[1, 0, 3, 2]), [0, 1, 2, 3]);
        assert_eq!(given_on(&[0, 0, 1, 1, 0]), [0, 1]);
        assert_eq!(given_on(&[2, 2, 0, 1, 2]), [0, 1, 2]);
        assert_eq!(given_on(&[0, 2, 3]), [0]);
    }

    #[test]
    fn what_is_too_far_ahead_is_refused() {
        let mut order = Order::default();
        assert_eq!(order.place(WINDOW + 1, ()), Placed::OutOfRange);
        assert_eq!(order.place(u32::MAX, ()), Placed::OutOfRange);
        assert!(!order.has_gap());
        assert_eq!(order.place(WINDOW, ()), Placed::Kept);
        assert!(order.has_gap());
        assert_eq!(order.place(WINDOW, ()), Placed::Duplicate);
        assert_eq!(order.place(0, ()), Placed::Turn(()));
        assert_eq!(order.place(WINDOW + 1, ()), Placed::Kept);
        assert_eq!(order.awaited(), 1);
    }
}
