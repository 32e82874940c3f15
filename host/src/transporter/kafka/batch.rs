//! Messages as Kafka keeps them: batches of format 2.
//!
//! Batches that were compressed, or are of the formats before Kafka 0.11, are not read; how many bytes and
//! places they take is told, so that a reader goes on after them.

use bytes::Bytes;

use super::protocol::{Malformed, Reader};

/// Compressed, with whatever.
const COMPRESSED: i16 = 0b111;

/// Marks of transactions, not messages.
const CONTROL: i16 = 0x20;

/// A batch of messages, all of the same moment.
pub(super) fn write(messages: &[Bytes], unix_ms: i64) -> Vec<u8> {
    let mut checked = Vec::new();
    let last = i32::try_from(messages.len().saturating_sub(1)).unwrap_or(i32::MAX);
    checked.extend_from_slice(&0_i16.to_be_bytes());
    checked.extend_from_slice(&last.to_be_bytes());
    checked.extend_from_slice(&unix_ms.to_be_bytes());
    checked.extend_from_slice(&unix_ms.to_be_bytes());
    // Nobody in particular writes, so that nothing is deduplicated.
    checked.extend_from_slice(&(-1_i64).to_be_bytes());
    checked.extend_from_slice(&(-1_i16).to_be_bytes());
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    checked.extend_from_slice(&(last.saturating_add(1)).to_be_bytes());
    let mut record = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        record.clear();
        record.push(0);
        varint(&mut record, 0);
        varint(&mut record, i64::try_from(place).unwrap_or(i64::MAX));
        varint(&mut record, -1);
        varint(&mut record, i64::try_from(message.len()).unwrap_or(i64::MAX));
        let rest = message.len() + 1;
        varint(&mut checked, i64::try_from(record.len() + rest).unwrap_or(i64::MAX));
        checked.extend_from_slice(&record);
        checked.extend_from_slice(message);
        varint(&mut checked, 0);
    }
    let mut batch = Vec::with_capacity(checked.len() + 21);
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&i32::try_from(checked.len() + 9).unwrap_or(i32::MAX).to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let byte = u8::try_from(left & 0x7f).unwrap_or(0);
        left >>= 7;
        if left == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Batches as they were read.
pub(super) struct Read {
    pub(super) messages: Vec<Bytes>,
    /// Where to go on.
    pub(super) next: i64,
    /// Why something was passed over.
    pub(super) passed_over: Option<&'static str>,
}

/// Reads all whole batches. Messages before `offset` were read earlier: a batch is never cut in two.
pub(super) fn read(batches: &[u8], offset: i64) -> Read {
    let mut read = Read { messages: Vec::new(), next: offset, passed_over: None };
    let mut reader = Reader(batches);
    while let Some((base, batch)) = next_batch(&mut reader) {
        match read_batch(base, batch, offset, &mut read.messages) {
            Ok(next) => read.next = next.max(read.next),
            Err(Unread { why, next }) => {
                read.passed_over = Some(why);
                read.next = next.max(read.next.saturating_add(1));
            }
        }
    }
    read
}

/// A whole batch and its place; the last of an answer may be cut off.
fn next_batch<'a>(reader: &mut Reader<'a>) -> Option<(i64, &'a [u8])> {
    let base = reader.int64().ok()?;
    let size = usize::try_from(reader.int32().ok()?).ok()?;
    reader.bytes(size).ok().map(|batch| (base, batch))
}

struct Unread {
    why: &'static str,
    /// After the batch.
    next: i64,
}

fn read_batch(
    base: i64,
    batch: &[u8],
    offset: i64,
    messages: &mut Vec<Bytes>,
) -> Result<i64, Unread> {
    let unread = |why, next: i64| Unread { why, next };
    let broken = |_| unread("they are broken", base.saturating_add(1));
    let mut reader = Reader(batch);
    reader.int32().map_err(broken)?;
    if reader.int8().map_err(broken)? != 2 {
        return Err(unread("they are of a format before Kafka 0.11", base.saturating_add(1)));
    }
    let crc = reader.int32().map_err(broken)?.cast_unsigned();
    if crc32c(reader.0) != crc {
        return Err(unread("they are broken", base.saturating_add(1)));
    }
    let attributes = reader.int16().map_err(broken)?;
    let last = i64::from(reader.int32().map_err(broken)?.max(0));
    let next = base.saturating_add(last).saturating_add(1);
    let broken = |_| unread("they are broken", next);
    if attributes & COMPRESSED != 0 {
        return Err(unread("they are compressed, which this node does not read", next));
    }
    if attributes & CONTROL != 0 {
        return Ok(next);
    }
    // Times, and who wrote: of no use here.
    reader.bytes(30).map_err(broken)?;
    let count = reader.int32().map_err(broken)?.max(0);
    for _ in 0..count {
        let (place, message) = read_record(&mut reader).map_err(broken)?;
        if base.saturating_add(place) >= offset
            && let Some(message) = message
        {
            // Copied, so that a small message that is kept does not keep all that was read with it.
            messages.push(Bytes::copy_from_slice(message));
        }
    }
    Ok(next)
}

/// The place of a message in its batch, and the message, if it has any bytes.
fn read_record<'a>(reader: &mut Reader<'a>) -> Result<(i64, Option<&'a [u8]>), Malformed> {
    let size = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
    let mut record = Reader(reader.bytes(size)?);
    record.int8()?;
    record.varint()?;
    let place = record.varint()?;
    if let Ok(key_len) = usize::try_from(record.varint()?) {
        record.bytes(key_len)?;
    }
    let message = match usize::try_from(record.varint()?) {
        Ok(len) => Some(record.bytes(len)?),
        Err(_) => None,
    };
    Ok((place, message))
}

/// Castagnoli's checksum.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0) ^ (crc >> 8)
    })
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "computed when this is compiled"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    fn texts(read: &Read) -> Vec<&str> {
        read.messages.iter().map(|message| std::str::from_utf8(message).unwrap()).collect()
    }

    fn batch(base: i64, messages: &[&'static str]) -> Vec<u8> {
        let messages: Vec<_> =
            messages.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        let mut batch = write(&messages, 1_700_000_000_000);
        batch[..8].copy_from_slice(&base.to_be_bytes());
        batch
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_written_is_read_from_any_place_on() {
        let long: &'static str = "x".repeat(70_000).leak();
        let batches = [batch(5, &["a", "b", ""]), batch(8, &[long])].concat();
        let all = read(&batches, 5);
        assert_eq!((texts(&all), all.next, all.passed_over), (vec!["a", "b", "", long], 9, None));
        let rest = read(&batches, 6);
        assert_eq!((texts(&rest), rest.next), (vec!["b", "", long], 9));
        let cut = read(&batches[..batches.len() - 1], 5);
        assert_eq!((texts(&cut), cut.next), (vec!["a", "b", ""], 8));
        assert_eq!(read(&batches[..20], 5).next, 5);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let with_attributes = |attributes: i16| {
            let mut batch = batch(5, &["a", "b"]);
            batch[21..23].copy_from_slice(&attributes.to_be_bytes());
            let crc = crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            batch
        };
        let gzip = [with_attributes(1), batch(7, &["c"])].concat();
        let gzip = read(&gzip, 5);
        assert_eq!((texts(&gzip), gzip.next), (vec!["c"], 8));
        assert!(gzip.passed_over.unwrap().contains("compressed"));
        let control = read(&with_attributes(CONTROL), 5);
        assert_eq!((texts(&control), control.next, control.passed_over), (vec![], 7, None));
        let mut old = batch(5, &["a"]);
        old[16] = 1;
        assert!(read(&old, 5).passed_over.unwrap().contains("format"));
        let mut broken = batch(5, &["a"]);
        *broken.last_mut().unwrap() ^= 1;
        let broken = read(&broken, 5);
        assert_eq!((broken.next, broken.passed_over), (6, Some("they are broken")));
    }

    static PIECES: [&[u8]; 3] = [b"\xff\xff\xff\xff", b"\x7f", b"\0\0\0\0"];

    #[test]
    fn damaged_batches_never_panic_and_are_always_left_behind() {
        let mut damage = Damage::new(0x5eed_0007_c0ff_ee07, &PIECES);
        let batches = [batch(5, &["a", "b"]), batch(7, &["c"])].concat();
        for _ in 0..30_000 {
            let mut bytes = damage.copy(&batches);
            // With a checksum that fits, so that more than that is looked at.
            if let Some(checked) = bytes.get(21..) {
                let crc = crc32c(checked).to_be_bytes();
                bytes[17..21].copy_from_slice(&crc);
            }
            assert!(read(&bytes, 5).next >= 5);
        }
    }
}
