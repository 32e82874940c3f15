//! The text protocol of NATS: what a server says, and what is said to it.
//!
//! Reading is pure: [`parse`] looks at the bytes that have come so far and never copies. A server is
//! trusted with nothing: lines and messages are bounded, and whatever is no part of the protocol is a
//! [`Fault`], which ends the connection. Headers are not spoken (`headers: false`), so a server takes
//! them off before it sends us a message. Not here: sockets and when to say what.

use std::io::Write as _;

use serde::Deserialize;
use serde_json::json;

use crate::transporter::Queue;
use crate::transporter::nats::address::Auth;

/// Longest line of a server. Control lines are limited to 4 KiB by servers; an INFO may name all of a
/// large cluster.
const LINE_MAX: usize = 64 << 10;

/// Largest message that is read: the limit that servers themselves have for `max_payload`.
const PAYLOAD_MAX: usize = 64 << 20;

/// One thing that a server says. Borrows from the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    /// What the server is and wants; JSON.
    Info(&'a str),
    /// A message of a topic.
    Message { topic: &'a str, payload: &'a [u8] },
    /// "Are you alive?"
    Ping,
    /// "I am alive", and: everything before the PING has been handled.
    Pong,
    /// An acknowledgement, which we ask servers not to send.
    Ok,
    /// Something is wrong; the text without quotes.
    Err(&'a str),
}

/// How far a look at the bytes got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Not all of it has come. At least `missing` more bytes are needed.
    Partial { missing: usize },
    /// It takes `size` bytes.
    Whole { op: Op<'a>, size: usize },
}

/// What no proper server says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// A line without an end.
    #[error("the server sent a line of more than {LINE_MAX} bytes")]
    LineTooLong,
    /// A message that no server would accept itself.
    #[error("the server announced a message of more than {PAYLOAD_MAX} bytes")]
    PayloadTooLarge,
    /// Not the protocol.
    #[error("what the server sent is not NATS: {0:?}")]
    Malformed(String),
}

/// Reads the first thing in `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, Fault> {
    let Some(end) = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LINE_MAX {
            Err(Fault::LineTooLong)
        } else {
            Ok(Parsed::Partial { missing: 1 })
        };
    };
    let (line, rest) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..));
    let line = line.strip_suffix(b"\r").ok_or_else(|| malformed(line))?;
    let line = std::str::from_utf8(line).map_err(|_| malformed(line))?;
    let (word, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let op = match word {
        "MSG" => return message(line, arguments, rest.unwrap_or_default(), end + 1),
        "PING" => Op::Ping,
        "PONG" => Op::Pong,
        "+OK" => Op::Ok,
        "-ERR" => Op::Err(arguments.trim().trim_matches('\'')),
        "INFO" => Op::Info(arguments.trim()),
        _ => return Err(malformed(line.as_bytes())),
    };
    Ok(Parsed::Whole { op, size: end + 1 })
}

/// `MSG <topic> <subscription> [reply topic] <size>`, whose payload follows with an end of its own.
fn message<'a>(
    line: &str,
    arguments: &'a str,
    rest: &'a [u8],
    line_size: usize,
) -> Result<Parsed<'a>, Fault> {
    let mut words = arguments.split_ascii_whitespace();
    let (topic, _subscription, last) = (words.next(), words.next(), words.next());
    let size = words.next().or(last).and_then(|size| size.parse::<usize>().ok());
    let (Some(topic), Some(size), None) = (topic, size, words.next()) else {
        return Err(malformed(line.as_bytes()));
    };
    if size > PAYLOAD_MAX {
        return Err(Fault::PayloadTooLarge);
    }
    let (Some(payload), Some(end)) = (rest.get(..size), rest.get(size..size + 2)) else {
        return Ok(Parsed::Partial { missing: size + 2 - rest.len() });
    };
    if end != b"\r\n" {
        return Err(malformed(end));
    }
    Ok(Parsed::Whole { op: Op::Message { topic, payload }, size: line_size + size + 2 })
}

/// The beginning of what was found, for a person.
fn malformed(found: &[u8]) -> Fault {
    let start = found.get(..found.len().min(40)).unwrap_or_default();
    Fault::Malformed(String::from_utf8_lossy(start).into_owned())
}

/// What matters of an INFO. Unknown fields are ignored, absent ones have the servers' defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerInfo {
    /// Largest message that the server takes, in bytes.
    pub(super) max_payload: Option<usize>,
    /// The server speaks TLS only.
    pub(super) tls_required: bool,
    /// Other servers of its cluster: `host:port`.
    pub(super) connect_urls: Vec<String>,
    /// What a key has to sign.
    pub(super) nonce: Option<String>,
    /// "Lame duck mode": it is going to shut down and wants its clients to leave.
    pub(super) ldm: bool,
}

impl ServerInfo {
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|_| malformed(text.as_bytes()))
    }
}

/// The first words of a client, and a PING whose PONG says that they were accepted.
pub(super) fn connect(auth: &Auth, client_name: &str, tls: bool, nonce: &str) -> Vec<u8> {
    let mut options = json!({
        "verbose": false,
        "pedantic": false,
        "tls_required": tls,
        "name": client_name,
        "lang": "rust",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1,
        "echo": true,
        "headers": false,
    });
    if let Some(options) = options.as_object_mut() {
        match auth {
            Auth::None => {}
            Auth::Token(token) => {
                options.insert("auth_token".into(), token.as_str().into());
            }
            Auth::Password { user, password } => {
                options.insert("user".into(), user.as_str().into());
                options.insert("pass".into(), password.as_str().into());
            }
            Auth::Key { seed, jwt } => {
                let (public, signature) = seed.sign(nonce).unwrap_or_default();
                options.insert("nkey".into(), public.into());
                options.insert("sig".into(), signature.into());
                if let Some(jwt) = jwt {
                    options.insert("jwt".into(), jwt.as_str().into());
                }
            }
        }
    }
    format!("CONNECT {options}\r\nPING\r\n").into_bytes()
}

/// Says that a message goes to a topic.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    out.reserve(topic.len() + payload.len() + 32);
    // Writing to memory cannot fail.
    let _ = write!(out, "PUB {topic} {}\r\n", payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Asks for the messages of a topic; with a group, for those that none of its other members gets.
pub(super) fn subscribe(out: &mut Vec<u8>, topic: &str, group: Option<&str>, number: u64) {
    let _ = match group {
        Some(group) => write!(out, "SUB {topic} {group} {number}\r\n"),
        None => write!(out, "SUB {topic} {number}\r\n"),
    };
}

/// Asks for no more messages of a subscription.
pub(super) fn unsubscribe(out: &mut Vec<u8>, number: u64) {
    let _ = write!(out, "UNSUB {number}\r\n");
}

/// The subject of a shared queue; `None` when it cannot be one. `**` and whatever follows takes all that is
/// left (moleculer: src/transporters/nats.js subscribeBalancedEvent).
pub(super) fn subject(queue: &Queue) -> Option<String> {
    let unfit = |name: &str| {
        name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if unfit(&queue.topic) || unfit(&queue.group) {
        return None;
    }
    Some(match queue.topic.split_once("**") {
        Some((before, _)) => format!("{before}>"),
        None => queue.topic.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    /// All that is in the bytes, and what remains.
    fn all(mut bytes: &[u8]) -> Result<(Vec<String>, usize), Fault> {
        let mut found = Vec::new();
        while let Parsed::Whole { op, size } = parse(bytes)? {
            found.push(format!("{op:?}"));
            bytes = &bytes[size..];
        }
        Ok((found, bytes.len()))
    }

    const SPOKEN: &[u8] = b"INFO {\"max_payload\":10} \r\nMSG a.b 1 5\r\nhe\r\no\r\nPING\r\n\
        MSG a.b 12 re.ply 0\r\n\r\n+OK\r\n-ERR 'Slow Consumer'\r\nPONG\r\n";

    #[test]
    fn a_stream_reads_the_same_wherever_it_is_cut() {
        let (whole, rest) = all(SPOKEN).unwrap();
        assert_eq!((whole.len(), rest), (7, 0));
        assert_eq!(whole[4..], ["Ok", "Err(\"Slow Consumer\")", "Pong"]);
        for cut in 0..SPOKEN.len() {
            let (mut found, rest) = all(&SPOKEN[..cut]).unwrap();
            found.extend(all(&SPOKEN[cut - rest..]).unwrap().0);
            assert_eq!(found, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_part_of_a_message_says_how_much_is_missing() {
        let check = |bytes: &[u8], missing| {
            assert_eq!(parse(bytes), Ok(Parsed::Partial { missing }), "{bytes:?}");
        };
        check(b"", 1);
        check(b"MSG a 1 5", 1);
        check(b"MSG a 1 5\r\n", 7);
        check(b"MSG a 1 5\r\nhello", 2);
        check(b"MSG a 1 5\r\nhello\r", 1);
    }

    #[test]
    fn what_no_server_says_is_refused() {
        let malformed = |bytes: &[u8]| {
            let fault = parse(bytes);
            assert!(matches!(fault, Err(Fault::Malformed(_))), "{fault:?} for {bytes:?}");
        };
        malformed(b"HTTP/1.1 400 Bad Request\r\n");
        malformed(b"PING\n");
        malformed(b"\r\n");
        malformed(b"MSG a\r\n");
        malformed(b"MSG a 1\r\n");
        malformed(b"MSG a 1 -5\r\n");
        malformed(b"MSG a 1 x\r\n");
        malformed(b"MSG a 1 r 5 5\r\n");
        malformed(b"MSG \xff 1 0\r\n\r\n");
        malformed(b"MSG a 1 2\r\nhello\r\n");
    }

    #[test]
    fn lines_and_messages_are_bounded() {
        let line = |n: usize| [b"+OK ".as_slice(), &vec![b' '; n - 6], b"\r\n"].concat();
        assert!(matches!(parse(&line(LINE_MAX)), Ok(Parsed::Whole { .. })));
        assert_eq!(parse(&line(LINE_MAX + 1)), Err(Fault::LineTooLong));
        assert_eq!(parse(&vec![b'x'; LINE_MAX]), Err(Fault::LineTooLong));
        let message = |size: usize| format!("MSG a 1 {size}\r\n").into_bytes();
        let missing = PAYLOAD_MAX + 2;
        assert_eq!(parse(&message(PAYLOAD_MAX)), Ok(Parsed::Partial { missing }));
        assert_eq!(parse(&message(PAYLOAD_MAX + 1)), Err(Fault::PayloadTooLarge));
        assert!(parse(&message(usize::MAX)).is_err());
        assert!(parse(b"MSG a 1 99999999999999999999999\r\n").is_err());
    }

    #[test]
    fn what_we_say_reads_as_the_protocol_wants_it() {
        let mut out = Vec::new();
        subscribe(&mut out, "MOL.REQ.a", None, 2);
        publish(&mut out, "MOL.REQ.b", b"{}");
        assert_eq!(out, b"SUB MOL.REQ.a 2\r\nPUB MOL.REQ.b 2\r\n{}\r\n");
        let password = Auth::Password { user: "u\"".into(), password: "p".into() };
        let hello = String::from_utf8(connect(&password, "n", false, "")).unwrap();
        let options = hello.strip_prefix("CONNECT ").unwrap().strip_suffix("\r\nPING\r\n").unwrap();
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        assert_eq!((&options["user"], &options["pass"]), (&json!("u\""), &json!("p")));
        assert_eq!((&options["verbose"], &options["name"]), (&json!(false), &json!("n")));
    }

    static PIECES: [&[u8]; 12] = [
        b"MSG a.b 1 99999999\r\n",
        b"MSG a 1 18446744073709551615\r\n",
        b"MSG a 1 0\r\n\r\n",
        b"INFO {\"connect_urls\":[\"::\",5]}\r\n",
        b"-ERR '",
        b"\r\n",
        b"\n",
        b"\r",
        b"\t ",
        b"\0",
        b"\xff\xfe",
        b"[[[[[[[[[[[[[[[[",
    ];

    /// Whatever comes, a look ends with an operation that lies within the bytes, the wish for more, or a
    /// fault, and always gets on.
    #[test]
    fn damaged_streams_never_panic() {
        let mut damage = Damage::new(0x5eed_0001_c0ff_ee01, &PIECES);
        let mut n_ops = 0;
        for _ in 0..40_000 {
            let bytes = damage.copy(SPOKEN);
            let mut rest = &bytes[..];
            while let Ok(Parsed::Whole { op, size }) = parse(rest) {
                assert!((1..=rest.len()).contains(&size));
                if let Op::Info(text) = op {
                    let _ = ServerInfo::read(text);
                }
                n_ops += 1;
                rest = &rest[size..];
            }
        }
        assert!(n_ops > 40_000, "{n_ops}");
    }
}
