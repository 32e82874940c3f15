//! Packets in every order, with the time handed in.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::*;
use crate::payload::stream::StreamReader;

type Head = &'static str;

struct Rig {
    inflows: Inflows<Head>,
    budget: Budget,
    start: Instant,
}

const OPTIONS: config::Streams = config::Streams {
    max: 2,
    buffer: 1_000,
    total_buffer: 1_500,
    idle_timeout: Duration::from_secs(60),
    gap_timeout: Duration::from_secs(10),
};

impl Rig {
    fn new(closed: Closed) -> Self {
        let counters = Counters {
            open: Metric::default(),
            dropped: Metric::default(),
            failed: Metric::default(),
        };
        let budget = Budget::new(OPTIONS.total_buffer);
        let inflows = Inflows::new(closed, OPTIONS, budget.clone(), counters);
        Self { inflows, budget, start: crate::clock::now() }
    }

    fn take(&self, id: &str, seq: u32, part: Part<Head>) -> Taken<Head> {
        self.take_at(0, id, seq, part)
    }

    fn take_at(&self, seconds: u64, id: &str, seq: u32, part: Part<Head>) -> Taken<Head> {
        let (id, sender) = (id.into(), "b".into());
        let arrival = Arrival { id, sender, seq, object_mode: false, part };
        self.inflows.take(arrival, self.start + Duration::from_secs(seconds))
    }

    fn begin(&self, id: &str) -> StreamReader {
        begun(self.take(id, 0, head())).take().unwrap()
    }

    fn sweep_at(&self, seconds: u64) {
        self.inflows.sweep(self.start + Duration::from_secs(seconds));
    }

    fn dropped(&self) -> i64 {
        self.inflows.counters.dropped.get()
    }
}

fn head() -> Part<Head> {
    Part::Head(Box::new("head"))
}

fn bytes(len: usize) -> Part<Head> {
    Part::Chunk(Payload::Bytes(vec![7; len].into()))
}

fn text(text: &'static str) -> Part<Head> {
    Part::Chunk(Payload::Bytes(Bytes::from_static(text.as_bytes())))
}

fn begun(taken: Taken<Head>) -> Stream {
    match taken {
        Taken::Begun(_, stream) => stream,
        other => panic!("{other:?}"),
    }
}

/// All that can be read now: the chunks as one text, and how it ended, if it did.
fn read(reader: &mut StreamReader) -> String {
    let mut all = String::new();
    loop {
        match reader.next().now_or_never() {
            Some(Ok(Some(Payload::Bytes(bytes)))) => {
                all.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            Some(Ok(None)) => return all + ".",
            Some(Err(error)) => return all + "!" + error.kind(),
            Some(Ok(other)) => panic!("{other:?}"),
            None => return all,
        }
    }
}

#[test]
fn chunks_are_read_in_their_order_whenever_they_came() {
    let parts = |seq| match seq {
        0 => head(),
        1 => text("a"),
        2 => text("b"),
        _ => Part::End(Ok(())),
    };
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 1, 3], [0, 3, 1, 2]] {
        let rig = Rig::new(Closed::Remember);
        let taken: Vec<_> = order.map(|seq| rig.take("1", seq, parts(seq))).into_iter().collect();
        let mut streams: Vec<_> =
            taken.into_iter().filter(|taken| matches!(taken, Taken::Begun(..))).collect();
        let stream = begun(streams.pop().unwrap());
        assert_eq!(read(&mut stream.take().unwrap()), "ab.", "{order:?}");
        assert!(streams.is_empty() && rig.inflows.is_empty());
        assert_eq!((rig.budget.used(), rig.inflows.counters.open.get()), (0, 0));
    }
}

#[test]
fn errors_come_after_the_chunks_before_them() {
    let rig = Rig::new(Closed::Remember);
    let mut reader = rig.begin("1");
    rig.take("1", 2, Part::End(Err(MoleculerError::server("BROKEN", "no"))));
    rig.take("1", 1, text("a"));
    assert_eq!(read(&mut reader), "a!BROKEN");
}

#[test]
fn doubled_and_far_packets_and_those_of_others_change_nothing() {
    let rig = Rig::new(Closed::Remember);
    let mut reader = rig.begin("1");
    rig.take("1", 1, text("a"));
    rig.take("1", 1, text("x"));
    rig.take("1", 3, text("c"));
    rig.take("1", 3, text("x"));
    assert_eq!(rig.dropped(), 2);
    for seq in [WINDOW + 3, u32::MAX] {
        let taken = rig.take("1", seq, text("x"));
        assert!(matches!(taken, Taken::Refused(Refusal::Sequence, _, None)), "{taken:?}");
    }
    let (id, sender) = ("1".into(), "mallory".into());
    let arrival = Arrival { id, sender, seq: 2, object_mode: false, part: text("x") };
    let taken = rig.inflows.take(arrival, rig.start);
    assert!(matches!(taken, Taken::Refused(Refusal::Malformed, _, None)), "{taken:?}");
    rig.take("1", 2, text("b"));
    rig.take("1", 4, Part::End(Ok(())));
    assert_eq!(read(&mut reader), "abc.");
}

#[test]
fn what_comes_faster_than_it_is_read_fails_its_own_stream() {
    let rig = Rig::new(Closed::Remember);
    let (mut slow, mut other) = (rig.begin("1"), rig.begin("2"));
    rig.take("1", 1, bytes(400));
    rig.take("1", 2, bytes(400));
    rig.take("1", 3, bytes(400));
    rig.take("1", 4, bytes(400));
    assert!(read(&mut slow).ends_with("!STREAM_OVERFLOW"));
    rig.take("2", 1, text("a"));
    assert_eq!(read(&mut other), "a");
    assert_eq!(rig.dropped(), 1);
}

#[test]
fn packets_that_wait_for_their_turn_are_bounded_as_well() {
    let rig = Rig::new(Closed::Remember);
    let mut one = rig.begin("1");
    rig.take("1", 3, bytes(900));
    rig.take("1", 2, bytes(400));
    assert_eq!(read(&mut one), "!STREAM_OVERFLOW");
    // They count against what all streams may hold, and give it back when it is their turn.
    let mut three = rig.begin("3");
    rig.take("3", 2, bytes(800));
    assert_eq!(rig.budget.used(), 864);
    rig.take("3", 1, bytes(10));
    assert_eq!(read(&mut three).len(), 810);
    assert_eq!(rig.budget.used(), 0);
}

#[test]
fn no_more_streams_than_are_allowed() {
    let rig = Rig::new(Closed::Remember);
    let (one, _two) = (rig.begin("1"), rig.begin("2"));
    let taken = rig.take("3", 0, head());
    assert!(matches!(taken, Taken::Refused(Refusal::Overload, _, Some(_))), "{taken:?}");
    assert!(matches!(rig.take("3", 1, text("a")), Taken::Refused(Refusal::Overload, _, None)));
    // One that nobody reads any more makes room.
    drop(one);
    rig.take("1", 1, text("a"));
    let _three = rig.begin("3");
}

#[test]
fn late_packets_of_a_stream_that_nobody_reads_begin_no_new_one() {
    let rig = Rig::new(Closed::Remember);
    drop(rig.begin("1"));
    for seq in 1..4 {
        assert!(matches!(rig.take("1", seq, text("a")), Taken::Kept));
    }
    assert_eq!((rig.dropped(), rig.inflows.counters.open.get()), (3, 0));
    rig.take("1", 4, Part::End(Ok(())));
    assert!(rig.inflows.is_empty());
    // One whose end does not come is forgotten in the end.
    drop(rig.begin("2"));
    rig.take("2", 1, text("a"));
    rig.sweep_at(59);
    assert!(!rig.inflows.is_empty());
    rig.sweep_at(60);
    assert!(rig.inflows.is_empty());

    let rig = Rig::new(Closed::Forget);
    drop(rig.begin("1"));
    rig.take("1", 1, text("a"));
    assert!(rig.inflows.is_empty());
}

#[test]
fn a_missing_chunk_and_a_still_source_fail_the_stream_in_the_end() {
    let rig = Rig::new(Closed::Remember);
    let (mut gap, mut still) = (rig.begin("1"), rig.begin("2"));
    rig.take_at(1, "1", 2, text("b"));
    // What else comes does not make it younger.
    rig.take_at(9, "1", 3, text("c"));
    rig.sweep_at(10);
    assert_eq!(read(&mut gap), "");
    rig.sweep_at(11);
    assert_eq!(read(&mut gap), "!STREAM_GAP");
    rig.take_at(30, "2", 1, text("a"));
    rig.sweep_at(89);
    assert_eq!(read(&mut still), "a");
    rig.sweep_at(90);
    assert_eq!(read(&mut still), "!STREAM_IDLE");
    rig.sweep_at(1_000);
    assert!(rig.inflows.is_empty());
    assert_eq!(rig.budget.used(), 0);
}

#[test]
fn a_lost_node_takes_its_streams_with_it() {
    let rig = Rig::new(Closed::Remember);
    let mut reader = rig.begin("1");
    rig.inflows.reject_node("c");
    assert_eq!(read(&mut reader), "");
    rig.inflows.reject_node("b");
    assert_eq!(read(&mut reader), "!STREAM_LOST");
    let mut reader = rig.begin("2");
    rig.inflows.clear();
    assert!(read(&mut reader).starts_with('!'));
    assert!(rig.inflows.is_empty());
}

#[test]
fn a_chunk_that_does_not_fit_the_mode_fails_the_stream() {
    let rig = Rig::new(Closed::Remember);
    let mut reader = rig.begin("1");
    rig.take("1", 1, Part::Chunk(Payload::Json("{\"a\":1}".into())));
    assert_eq!(read(&mut reader), "!INVALID_STREAM_CHUNK");
}

#[test]
fn errors_that_wait_for_their_turn_are_weighed() {
    let rig = Rig::new(Closed::Remember);
    let mut reader = rig.begin("1");
    let large = || MoleculerError::server("BROKEN", "x".repeat(900));
    rig.take("1", 2, Part::End(Err(large())));
    assert_eq!(read(&mut reader), "!STREAM_OVERFLOW");
}

/// Whatever comes, in whatever order: nothing panics, and what waits stays within the budget.
#[test]
fn streams_are_bounded_whatever_comes() {
    let rig = Rig::new(Closed::Remember);
    let mut readers = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..20_000 {
        // xorshift: the same every time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [a, b, c, ..] = state.to_be_bytes();
        let id = ["1", "2", "3"][usize::from(a % 3)];
        let seq = u32::from(b % 12) * if c % 50 == 0 { 1_000 } else { 1 };
        let part = match c % 8 {
            _ if seq == 0 => head(),
            0 => Part::End(Ok(())),
            1 => Part::End(Err(MoleculerError::server("X", "x".repeat(usize::from(a) * 4)))),
            2 => Part::Chunk(Payload::Json("{}".into())),
            _ => bytes(usize::from(a) * 2),
        };
        let now = round / 100;
        if let Taken::Begun(_, stream) = rig.take_at(now, id, seq, part) {
            readers.extend(stream.take());
        }
        if c % 40 == 0 {
            readers.clear();
            rig.sweep_at(now);
        }
        assert!(rig.budget.used() <= OPTIONS.total_buffer);
        assert!(rig.inflows.entries.lock().len() <= OPTIONS.max);
    }
    readers.clear();
    // Streams with a gap fail first, and are forgotten the next time.
    rig.sweep_at(10_000);
    rig.sweep_at(10_000);
    assert_eq!((rig.budget.used(), rig.inflows.counters.open.get()), (0, 0));
    assert!(rig.inflows.is_empty());
}
