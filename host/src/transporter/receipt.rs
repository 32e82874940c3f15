//! Telling a message broker that a message has been handled.
//!
//! A broker with acknowledgements keeps a message until it hears of it, and gives it to another node when
//! this one dies before. A [`Receipt`] goes beside its message, not in it, because whatever stands between
//! the transporter and `transit` (hooks that change bytes and packets) knows nothing of it: whoever begins to
//! handle a message takes the receipt of the message that is being handed over on this thread, and keeps it
//! until the handling has ended. A receipt that nobody takes is given at once. Transporters without
//! acknowledgements have none, and pay a look at an empty cell.

use std::cell::RefCell;

thread_local! {
    /// Of the message that is being handed over.
    static CURRENT: RefCell<Option<Receipt>> = const { RefCell::new(None) };
}

/// Acknowledges a message when it is dropped.
pub struct Receipt(Option<Box<dyn FnOnce() + Send>>);

impl Receipt {
    /// One that does this when it is dropped.
    #[must_use]
    pub fn new(acknowledge: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(acknowledge)))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(acknowledge) = self.0.take() {
            acknowledge();
        }
    }
}

/// Hands a message over together with its receipt.
pub fn deliver(receipt: Receipt, hand_over: impl FnOnce()) {
    /// Empties the cell also when something panics.
    struct Empty;
    impl Drop for Empty {
        fn drop(&mut self) {
            drop(take());
        }
    }
    CURRENT.with(|current| current.replace(Some(receipt)));
    let _empty = Empty;
    hand_over();
}

/// The receipt of the message that is being handed over on this thread, if it has one.
#[must_use]
pub fn take() -> Option<Receipt> {
    CURRENT.with(RefCell::take)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_receipt_is_given_when_the_handling_ends_whoever_handles_it() {
        let given = Arc::new(AtomicUsize::new(0));
        let receipt = || {
            let given = Arc::clone(&given);
            Receipt::new(move || {
                given.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut kept = None;
        deliver(receipt(), || kept = take());
        assert_eq!(given.load(Ordering::Relaxed), 0);
        drop(kept);
        assert_eq!(given.load(Ordering::Relaxed), 1);
        deliver(receipt(), || {});
        assert_eq!(given.load(Ordering::Relaxed), 2);
        let panicked = std::panic::catch_unwind(|| deliver(receipt(), || panic!("a defect")));
        assert!(panicked.is_err() && take().is_none());
        assert_eq!(given.load(Ordering::Relaxed), 3);
    }
}
