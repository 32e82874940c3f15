//! The protocol of Redis (RESP2), as far as publishing and subscribing need it.
//!
//! Reading is pure: [`parse`] looks at the bytes that have come so far and never copies. A server is trusted
//! with nothing: lines are bounded, a message that is too large is told before any of it is kept, and what
//! is no part of the protocol is a [`Fault`], which ends the connection. Not here: sockets and when to say
//! what.

use std::io::Write as _;

/// Longest line of a server: a size, or the words of an error.
const LINE_MAX: usize = 64 << 10;

/// One thing that a server says. Borrows from the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    /// A message of a channel.
    Message { topic: &'a str, payload: &'a [u8] },
    /// So many channels are subscribed to now.
    Subscribed { topics: usize },
    /// The answer to a PING of a connection that has subscriptions.
    Pong,
    /// An answer that is a number, such as how many heard what was published.
    Number(i64),
    /// An answer that is a word.
    Text(&'a str),
    /// Something was refused.
    Error(&'a str),
}

/// How far a look at the bytes got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Not all of it has come. At least `missing` more bytes are needed.
    Partial { missing: usize },
    /// It takes `size` bytes.
    Whole { op: Op<'a>, size: usize },
    /// A message of `payload` bytes, which is more than the limit. It begins with `size` bytes that have
    /// come; `rest` bytes follow that mean nothing.
    TooLarge { payload: usize, size: usize, rest: usize },
}

/// What no proper server says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// A line without an end.
    #[error("the server sent a line of more than {LINE_MAX} bytes")]
    LineTooLong,
    /// Not the protocol.
    #[error("what the server sent is not Redis: {0:?}")]
    Malformed(String),
}

/// Why reading ends before the end.
enum Stop {
    Partial { missing: usize },
    TooLarge { payload: usize, size: usize, rest: usize },
    Fault(Fault),
}

/// Reads the first thing in `bytes`. Messages of more than `limit` bytes are not waited for.
pub(super) fn parse(bytes: &[u8], limit: usize) -> Result<Parsed<'_>, Fault> {
    let mut reader = Reader { bytes, at: 0, limit };
    match reader.op() {
        Ok(op) => Ok(Parsed::Whole { op, size: reader.at }),
        Err(Stop::Partial { missing }) => Ok(Parsed::Partial { missing }),
        Err(Stop::TooLarge { payload, size, rest }) => Ok(Parsed::TooLarge { payload, size, rest }),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limit: usize,
}

impl<'a> Reader<'a> {
    fn op(&mut self) -> Result<Op<'a>, Stop> {
        let (kind, rest) = self.line()?;
        match kind {
            b'*' => match number(rest)? {
                3 => self.push(),
                2 => self.pong(),
                _ => Err(malformed(rest)),
            },
            b':' => number(rest).map(Op::Number),
            b'+' => text(rest).map(Op::Text),
            b'-' => text(rest).map(Op::Error),
            _ => Err(malformed(rest)),
        }
    }

    /// `message <channel> <payload>`, or `subscribe <channel> <number of channels>`.
    fn push(&mut self) -> Result<Op<'a>, Stop> {
        let word = self.bulk()?;
        let topic = text(self.bulk()?)?;
        match word {
            b"message" => {
                let payload = self.payload()?;
                Ok(Op::Message { topic, payload })
            }
            b"subscribe" => {
                let (kind, rest) = self.line()?;
                let topics = usize::try_from(number(rest)?).map_err(|_| malformed(rest))?;
                if kind == b':' { Ok(Op::Subscribed { topics }) } else { Err(malformed(rest)) }
            }
            _ => Err(malformed(word)),
        }
    }

    /// `pong <what was sent with the PING>`
    fn pong(&mut self) -> Result<Op<'a>, Stop> {
        let word = self.bulk()?;
        self.bulk()?;
        if word == b"pong" { Ok(Op::Pong) } else { Err(malformed(word)) }
    }

    /// A line's first character and the rest of it.
    fn line(&mut self) -> Result<(u8, &'a [u8]), Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
            return Err(if rest.len() >= LINE_MAX {
                Stop::Fault(Fault::LineTooLong)
            } else {
                Stop::Partial { missing: 1 }
            });
        };
        let line = rest.get(..end).unwrap_or_default();
        let Some(([kind], rest)) =
            line.strip_suffix(b"\r").and_then(|line| line.split_first_chunk::<1>())
        else {
            return Err(malformed(line));
        };
        self.at += end + 1;
        Ok((*kind, rest))
    }

    fn size(&mut self) -> Result<usize, Stop> {
        let (kind, rest) = self.line()?;
        match usize::try_from(number(rest)?) {
            Ok(size) if kind == b'$' => Ok(size),
            _ => Err(malformed(rest)),
        }
    }

    /// A word of the protocol or a channel, which are short.
    fn bulk(&mut self) -> Result<&'a [u8], Stop> {
        let size = self.size()?;
        if size > LINE_MAX {
            return Err(Stop::Fault(Fault::LineTooLong));
        }
        self.take(size)
    }

    fn payload(&mut self) -> Result<&'a [u8], Stop> {
        let size = self.size()?;
        if size > self.limit {
            return Err(Stop::TooLarge { payload: size, size: self.at, rest: size + 2 });
        }
        self.take(size)
    }

    /// So many bytes, and the end of a line after them.
    fn take(&mut self, size: usize) -> Result<&'a [u8], Stop> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (Some(taken), Some(end)) = (rest.get(..size), rest.get(size..size + 2)) else {
            return Err(Stop::Partial { missing: size + 2 - rest.len() });
        };
        if end != b"\r\n" {
            return Err(malformed(end));
        }
        self.at += size + 2;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Stop> {
    std::str::from_utf8(bytes).map_err(|_| malformed(bytes))
}

/// Sizes and counts are 32 bits in all that is done with them here, so that sums stay in range.
fn number(bytes: &[u8]) -> Result<i64, Stop> {
    let number = text(bytes)?.parse::<i64>().ok();
    number.filter(|n| n.abs() <= i64::from(u32::MAX)).ok_or_else(|| malformed(bytes))
}

/// The beginning of what was found, for a person.
fn malformed(found: &[u8]) -> Stop {
    let start = found.get(..found.len().min(40)).unwrap_or_default();
    Stop::Fault(Fault::Malformed(String::from_utf8_lossy(start).into_owned()))
}

/// Says a command.
pub(super) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    let size: usize = words.iter().map(|word| word.len() + 16).sum();
    out.reserve(size + 16);
    // Writing to memory cannot fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Says that a message goes to a channel.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    command(out, &[b"PUBLISH", topic.as_bytes(), payload]);
}

/// Asks for the messages of channels.
pub(super) fn subscribe(out: &mut Vec<u8>, topics: &[String]) {
    let words: Vec<&[u8]> = std::iter::once(b"SUBSCRIBE".as_slice())
        .chain(topics.iter().map(|topic| topic.as_bytes()))
        .collect();
    command(out, &words);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    /// All that is in the bytes, and what remains.
    fn all(mut bytes: &[u8]) -> Result<(Vec<String>, usize), Fault> {
        let mut found = Vec::new();
        while let Parsed::Whole { op, size } = parse(bytes, LIMIT)? {
            found.push(format!("{op:?}"));
            bytes = &bytes[size..];
        }
        Ok((found, bytes.len()))
    }

    const SPOKEN: &[u8] = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$3\r\na.b\r\n:1\r\n\
        *3\r\n$7\r\nmessage\r\n$3\r\na.b\r\n$5\r\nhe\r\no\r\n:-1\r\n-ERR no\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n\
        *3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n";

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut() {
        let (whole, rest) = all(SPOKEN).unwrap();
        assert_eq!((whole.len(), rest), (7, 0));
        assert_eq!(whole[..2], ["Text(\"OK\")".to_owned(), "Subscribed { topics: 1 }".to_owned()]);
        assert_eq!(whole[3..6], ["Number(-1)", "Error(\"ERR no\")", "Pong"]);
        for cut in 0..SPOKEN.len() {
            let (mut found, rest) = all(&SPOKEN[..cut]).unwrap();
            found.extend(all(&SPOKEN[cut - rest..]).unwrap().0);
            assert_eq!(found, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_part_of_a_message_says_how_much_is_missing() {
        let check = |bytes: &[u8], missing| {
            assert_eq!(parse(bytes, LIMIT), Ok(Parsed::Partial { missing }), "{bytes:?}");
        };
        check(b"", 1);
        check(b"*3\r\n$7\r\nmess", 5);
        check(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5", 1);
        check(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r", 1);
    }

    #[test]
    fn what_no_server_says_is_refused() {
        let malformed = |bytes: &[u8]| {
            let fault = parse(bytes, LIMIT);
            assert!(matches!(fault, Err(Fault::Malformed(_))), "{fault:?} for {bytes:?}");
        };
        malformed(b"HTTP/1.1 400 Bad Request\r\n");
        malformed(b"\r\n");
        malformed(b"+OK\n");
        malformed(b"$3\r\nabc\r\n");
        malformed(b"*4\r\n");
        malformed(b"*-1\r\n");
        malformed(b"*99999999999999999999\r\n");
        malformed(b":1x\r\n");
        malformed(b"*2\r\n$4\r\nping\r\n$0\r\n\r\n");
        malformed(b"*3\r\n$8\r\npmessage\r\n$1\r\na\r\n");
        malformed(b"*3\r\n$7\r\nmessage\r\n$-1\r\n");
        malformed(b"*3\r\n$7\r\nmessage\r\n$1\r\n\xff\r\n");
        malformed(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:5\r\n");
        malformed(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nabc");
        malformed(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\n");
    }

    #[test]
    fn lines_and_messages_are_bounded() {
        let line = |n: usize| [b"+".as_slice(), &vec![b' '; n - 3], b"\r\n"].concat();
        assert!(matches!(parse(&line(LINE_MAX), LIMIT), Ok(Parsed::Whole { .. })));
        assert_eq!(parse(&line(LINE_MAX + 1), LIMIT), Err(Fault::LineTooLong));
        assert_eq!(parse(&vec![b'+'; LINE_MAX], LIMIT), Err(Fault::LineTooLong));
        assert_eq!(parse(b"*3\r\n$65537\r\n", LIMIT), Err(Fault::LineTooLong));
        let message = |size: usize| format!("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n${size}\r\n");
        let check = |size: usize, expected: &Parsed<'_>| {
            assert_eq!(parse(message(size).as_bytes(), LIMIT).as_ref(), Ok(expected), "{size}");
        };
        check(LIMIT, &Parsed::Partial { missing: LIMIT + 2 });
        let size = message(11).len();
        check(LIMIT + 1, &Parsed::TooLarge { payload: LIMIT + 1, size, rest: LIMIT + 3 });
        assert!(parse(message(usize::MAX).as_bytes(), LIMIT).is_err());
    }

    #[test]
    fn what_we_say_reads_as_the_protocol_wants_it() {
        let mut out = Vec::new();
        subscribe(&mut out, &["a".into(), "b.c".into()]);
        publish(&mut out, "x", b"{}");
        let text = "*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$3\r\nb.c\r\n*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$2\r\n{}\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
