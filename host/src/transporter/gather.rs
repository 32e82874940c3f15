//! When packets that are gathered for one connection are written: how many go in one system call, and how
//! long the first of them waits for the others.
//!
//! A packet after a pause goes at once, because whoever sent it waits for its answer and nothing else may
//! come. Of those that follow closely the first makes somebody promise to write what has come together by the time
//! that everything else has run which is ready to. What comes together in a burst is begun to be written early, in pieces
//! that double: the other side begins to work while this one still does, and a large burst is still
//! few system calls. Promises that are not kept in time are not relied on.
//!
//! Pure bookkeeping. Not here: the bytes, and who writes them.

use std::time::Duration;

use crate::clock::Instant;

/// How long others rely on the one that promised to write.
const PATIENCE: Duration = Duration::from_millis(1);

/// A packet that comes so long after the last one comes alone: about as long as a message takes to the
/// server and back, which is the least that lies between two calls one after the other.
const PAUSE: Duration = Duration::from_micros(50);

/// Bytes of a burst that are written first, before it is over: some ten calls.
const FIRST_PIECE: usize = 2 << 10;

/// What is known of the gathering for one connection.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// When somebody promised to write what is there.
    promised: Option<Instant>,
    /// When a packet came last.
    last: Option<Instant>,
    /// How large a piece must be now to be written before the promise is kept.
    piece: usize,
}

/// What is to be done for a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: somebody has promised to write it.
    Wait,
    /// To promise to write it.
    Promise,
    /// To write what is there, because the packet comes alone or the promise is too old.
    Write,
    /// To write what is there although the promise stands.
    WritePiece,
}

impl Gathering {
    /// A packet was put in; there are so many bytes now. Nothing needs to be begun while somebody is `writing`.
    pub(super) fn added(&mut self, now: Instant, n_bytes: usize, writing: bool) -> Step {
        let last = self.last.replace(now);
        let since = |then: Instant| now.saturating_duration_since(then);
        match self.promised {
            None if last.is_none_or(|last| since(last) >= PAUSE) => Step::Write,
            None => {
                self.promised = Some(now);
                self.piece = FIRST_PIECE;
                Step::Promise
            }
            Some(at) if since(at) >= PATIENCE => Step::Write,
            Some(_) if n_bytes >= self.piece && !writing => {
                self.piece = self.piece.saturating_mul(2);
                Step::WritePiece
            }
            Some(_) => Step::Wait,
        }
    }

    /// The promise is kept, or nobody relies on it any more.
    pub(super) fn end_promise(&mut self) {
        self.promised = None;
    }

    /// Whether somebody is going to write what is there.
    pub(super) fn promised(&self) -> bool {
        self.promised.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: Duration = Duration::from_micros(1);

    #[test]
    fn what_comes_alone_goes_at_once_and_what_comes_together_goes_together() {
        let (mut gathering, mut now) = (Gathering::default(), crate::clock::now());
        for _ in 0..3 {
            assert_eq!(gathering.added(now, 300, false), Step::Write);
            now += PAUSE;
        }
        assert_eq!(gathering.added(now, 300, false), Step::Write);
        now += CLOSE;
        assert_eq!(gathering.added(now, 300, false), Step::Promise);
        assert_eq!(gathering.added(now + PAUSE, 600, false), Step::Wait);
        gathering.end_promise();
        assert_eq!(gathering.added(now + PAUSE, 300, false), Step::Promise);
        assert_eq!(gathering.added(now + PAUSE + PATIENCE, 600, false), Step::Write);
    }

    #[test]
    fn a_burst_is_written_in_pieces_that_double() {
        let (mut gathering, start) = (Gathering::default(), crate::clock::now());
        gathering.added(start, 300, false);
        let (mut now, mut n_bytes, mut pieces) = (start + CLOSE, 0, Vec::new());
        for _ in 0..100 {
            n_bytes += 300;
            if gathering.added(now, n_bytes, false) == Step::WritePiece {
                pieces.push(n_bytes);
                n_bytes = 0;
            }
            now += CLOSE;
        }
        assert_eq!(pieces, [2_100, 4_200, 8_400]);
        // Whoever writes now looks again when it is done.
        assert_eq!(gathering.added(now, 1 << 20, true), Step::Wait);
    }
}
