//! What holds whatever a cluster says; see `crate::fuzz`.

use bytes::Bytes;

use super::{batch, protocol};

/// An answer of a server; its first byte says to which question. What was read once is left behind.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((question, answer)) = bytes.split_first() else { return };
    match question % 7 {
        0 => drop(protocol::read_metadata(answer)),
        1 => drop(protocol::read_created(answer)),
        2 => drop(protocol::read_ends(answer)),
        3 => drop(protocol::read_produced(answer)),
        4 => drop(protocol::read_handshake(answer)),
        5 => drop(protocol::read_authenticated(answer)),
        _ => {
            let fetched = protocol::read_fetched(answer).unwrap_or_default();
            fetched.iter().for_each(|topic| batches(topic.batches));
            batches(answer);
        }
    }
}

fn batches(bytes: &[u8]) {
    const OFFSET: i64 = 5;
    let read = batch::read(bytes, OFFSET);
    assert!(read.next >= OFFSET, "{}", read.next);
    let len: usize = read.messages.iter().map(Bytes::len).sum();
    assert!(len <= bytes.len(), "{len} bytes out of {}", bytes.len());
}

/// Batches as we write them, and an answer of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let messages = [Bytes::from_static(b"{\"ver\":\"5\"}"), Bytes::from_static(b"x")];
    let batches = batch::write(&messages, 1_700_000_000_000);
    let text = |text: &[u8]| [&[0, u8::try_from(text.len()).unwrap_or(0)], text].concat();
    let one = 1_i32.to_be_bytes().to_vec();
    let len = i32::try_from(batches.len()).unwrap_or(0).to_be_bytes().to_vec();
    let metadata = [
        vec![0],
        one.clone(),
        one.clone(),
        text(b"host"),
        9_092_i32.to_be_bytes().to_vec(),
        text(b""),
        one.clone(),
        one.clone(),
        vec![0, 0],
        text(b"MOL.INFO"),
        vec![0],
        one.clone(),
        vec![0; 6],
        one.clone(),
        vec![0; 8],
    ];
    let fetched = [
        vec![6, 0, 0, 0, 0],
        one.clone(),
        text(b"MOL.INFO"),
        one,
        vec![0; 6 + 16 + 4],
        len,
        batches.clone(),
    ];
    let login = [vec![5, 0, 0], text(b""), vec![0, 0, 0, 3], b"r=a".to_vec()];
    vec![metadata.concat(), fetched.concat(), login.concat(), [vec![6], batches].concat()]
}
