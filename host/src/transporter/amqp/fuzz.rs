//! What holds whatever a server says; see `crate::fuzz`.

use super::protocol::{FRAME_MIN, Parsed, heartbeat, method, parse, publish};

/// A stream of a server. Every look ends, takes something that has come, or waits for a bounded amount.
pub(crate) fn stream(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        match parse(rest, FRAME_MIN) {
            Ok(Parsed::Whole { size, .. }) => {
                assert!((8..=rest.len()).contains(&size), "{size} of {}", rest.len());
                rest = rest.get(size..).unwrap_or_default();
            }
            Ok(Parsed::Partial { missing }) => {
                assert!((1..=FRAME_MIN).contains(&missing), "{missing}");
                return;
            }
            Err(_) => return,
        }
    }
}

/// What servers say, and what we say, which has the same form.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    heartbeat(&mut said);
    // connection.tune, basic.deliver with its content, connection.close, connection.blocked.
    method(&mut said, 0, (10, 30), |out| {
        out.short(1).long(4_096).short(60);
    });
    method(&mut said, 1, (60, 60), |out| {
        out.short_text("consumer").long_long(7).byte(0).short_text("exchange").short_text("key");
    });
    method(&mut said, 0, (10, 50), |out| {
        out.short(320).short_text("bye").short(0).short(0);
    });
    method(&mut said, 0, (10, 60), |out| {
        out.short_text("low on memory");
    });
    let mut message = Vec::new();
    publish(&mut message, ("exchange", "key"), &[0, 0], b"{}", FRAME_MIN);
    vec![said, message, b"AMQP\0\0\x09\x01".to_vec()]
}
