//! Kafka's requests and answers, in the oldest versions that servers from 2.4 to 4 all understand, so that
//! nothing has to be negotiated.
//!
//! What a server says is read with bounds: a length that reaches beyond the answer is an error, and memory
//! is taken for what is there, not for what is announced.

/// A request: which, in which version, and what it says.
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) body: Vec<u8>,
}

/// Which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    SaslHandshake,
    CreateTopics,
    SaslAuthenticate,
}

impl Api {
    /// Its number and version.
    fn key(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, 3),
            Self::Fetch => (1, 4),
            Self::ListOffsets => (2, 1),
            Self::Metadata => (3, 1),
            Self::SaslHandshake => (17, 1),
            Self::CreateTopics => (19, 4),
            Self::SaslAuthenticate => (36, 0),
        }
    }
}

/// Errors that servers number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) i16);

impl Code {
    pub(super) const NONE: Self = Self(0);
    pub(super) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    const EXISTS: Self = Self(36);

    /// Whether the topic is not there, or has no leader at the moment, or another one.
    pub(super) fn is_about_leader(self) -> bool {
        matches!(self.0, 3 | 5 | 6 | 7)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            1 => "the offset is out of range",
            3 => "the topic is not there",
            5 => "the topic has no leader at the moment",
            6 => "another server leads the topic",
            7 => "the server did not answer another in time",
            10 => {
                "a message is larger than the servers take: give maxMessageSize what their \
                 message.max.bytes says, less 1 KB"
            }
            17 => "the name of the topic is not valid",
            29 => "not authorized for the topic",
            31 => "not authorized for the cluster",
            33 => "the servers do not know this SASL mechanism",
            58 => "user name or password are wrong",
            code => return write!(f, "error {code} of Kafka"),
        })
    }
}

/// Bytes of the longest name.
const TOPIC_LEN_MAX: usize = 249;

/// Kafka's rule for names of topics.
pub(super) fn is_topic(topic: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !topic.is_empty() && topic.len() <= TOPIC_LEN_MAX && topic.bytes().all(fits)
}

/// A request as it goes over the wire.
pub(super) fn frame(request: &Request, number: i32, client_id: &str) -> Vec<u8> {
    let (api, version) = request.api.key();
    let mut frame = Vec::with_capacity(request.body.len() + client_id.len() + 14);
    int32(&mut frame, 0);
    int16(&mut frame, api);
    int16(&mut frame, version);
    int32(&mut frame, number);
    string(&mut frame, client_id);
    frame.extend_from_slice(&request.body);
    let size = i32::try_from(frame.len() - 4).unwrap_or(i32::MAX);
    if let Some(place) = frame.first_chunk_mut() {
        *place = size.to_be_bytes();
    }
    frame
}

/// Where the servers are, and who leads these topics. Topics that are not there are made by this, where the
/// servers may.
pub(super) fn metadata(topics: &[String]) -> Request {
    let mut body = Vec::new();
    array(&mut body, topics, |body, topic| string(body, topic));
    Request { api: Api::Metadata, body }
}

/// Makes topics, with as many partitions and copies as the servers make by default.
pub(super) fn create_topics(topics: &[String], timeout_ms: i32) -> Request {
    let mut body = Vec::new();
    array(&mut body, topics, |body, topic| {
        string(body, topic);
        int32(body, -1);
        int16(body, -1);
        int32(body, 0);
        int32(body, 0);
    });
    int32(&mut body, timeout_ms);
    body.push(0);
    Request { api: Api::CreateTopics, body }
}

/// Where the next messages of these topics will stand.
pub(super) fn list_ends(topics: &[String]) -> Request {
    const LATEST: i64 = -1;
    let mut body = Vec::new();
    int32(&mut body, -1);
    array(&mut body, topics, |body, topic| {
        string(body, topic);
        int32(body, 1);
        int32(body, super::PARTITION);
        int64(body, LATEST);
    });
    Request { api: Api::ListOffsets, body }
}

/// The messages of these topics from these places on.
pub(super) fn fetch(topics: &[(String, i64)], max_wait_ms: i32, max_bytes: i32) -> Request {
    let mut body = Vec::new();
    int32(&mut body, -1);
    int32(&mut body, max_wait_ms);
    int32(&mut body, 1);
    int32(&mut body, max_bytes);
    body.push(0);
    array(&mut body, topics, |body, (topic, offset)| {
        string(body, topic);
        int32(body, 1);
        int32(body, super::PARTITION);
        int64(body, *offset);
        int32(body, max_bytes);
    });
    Request { api: Api::Fetch, body }
}

/// Writes a batch of messages to each of these topics. Answered when the leader has them: what Moleculer's
/// other transporters promise is less than that.
pub(super) fn produce(topics: &[(&str, Vec<u8>)], timeout_ms: i32) -> Request {
    let mut body = Vec::new();
    int16(&mut body, -1);
    int16(&mut body, 1);
    int32(&mut body, timeout_ms);
    array(&mut body, topics, |body, (topic, batch)| {
        string(body, topic);
        int32(body, 1);
        int32(body, super::PARTITION);
        int32(body, i32::try_from(batch.len()).unwrap_or(i32::MAX));
        body.extend_from_slice(batch);
    });
    Request { api: Api::Produce, body }
}

/// Begins a login.
pub(super) fn sasl_handshake(mechanism: &str) -> Request {
    let mut body = Vec::new();
    string(&mut body, mechanism);
    Request { api: Api::SaslHandshake, body }
}

/// A step of a login.
pub(super) fn sasl_authenticate(token: &[u8]) -> Request {
    let mut body = Vec::new();
    int32(&mut body, i32::try_from(token.len()).unwrap_or(i32::MAX));
    body.extend_from_slice(token);
    Request { api: Api::SaslAuthenticate, body }
}

fn int16(out: &mut Vec<u8>, value: i16) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn int32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn int64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Text is short here: topics, names of mechanisms, the name of the client.
fn string(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(1_000);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    int16(out, i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn array<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    int32(out, i32::try_from(items.len()).unwrap_or(i32::MAX));
    for item in items {
        write(out, item);
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads an answer from its beginning to its end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn int8(&mut self) -> Result<i8, Malformed> {
        self.chunk().map(i8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Malformed> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, Malformed> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Result<i64, Malformed> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// Text, or none.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        match usize::try_from(self.int16()?) {
            Ok(len) => std::str::from_utf8(self.bytes(len)?).map_err(|_| Malformed),
            Err(_) => Ok(""),
        }
    }

    /// Bytes, or none.
    pub(super) fn blob(&mut self) -> Result<&'a [u8], Malformed> {
        match usize::try_from(self.int32()?) {
            Ok(len) => self.bytes(len),
            Err(_) => Ok(&[]),
        }
    }

    /// Each item; an array that announces more than is there fails at the first that is missing.
    fn each(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.int32()?.max(0) {
            read(self)?;
        }
        Ok(())
    }

    /// A number of one to ten bytes, its sign last.
    pub(super) fn varint(&mut self) -> Result<i64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.chunk()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let magnitude = i64::try_from(value >> 1).map_err(|_| Malformed)?;
                return Ok(if value & 1 == 1 { !magnitude } else { magnitude });
            }
        }
        Err(Malformed)
    }
}

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a server knows of its cluster.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) nodes: Vec<Node>,
    pub(super) controller: i32,
    /// Each topic, and who leads the partition that is used, or why nobody does.
    pub(super) leaders: Vec<(String, Result<i32, i16>)>,
}

pub(super) fn read_metadata(answer: &[u8]) -> Result<Metadata, Malformed> {
    let mut reader = Reader(answer);
    let mut metadata = Metadata::default();
    reader.each(|reader| {
        let (id, host) = (reader.int32()?, reader.text()?.to_owned());
        let port = u16::try_from(reader.int32()?).map_err(|_| Malformed)?;
        reader.text()?;
        metadata.nodes.push(Node { id, host, port });
        Ok(())
    })?;
    metadata.controller = reader.int32()?;
    reader.each(|reader| {
        let (error, topic) = (reader.int16()?, reader.text()?.to_owned());
        reader.int8()?;
        let mut leader = Err(if error == 0 { 3 } else { error });
        reader.each(|reader| {
            let (error, index, id) = (reader.int16()?, reader.int32()?, reader.int32()?);
            reader.each(|reader| reader.int32().map(drop))?;
            reader.each(|reader| reader.int32().map(drop))?;
            if index == super::PARTITION {
                leader = if id < 0 { Err(if error == 0 { 5 } else { error }) } else { Ok(id) };
            }
            Ok(())
        })?;
        metadata.leaders.push((topic, leader));
        Ok(())
    })?;
    Ok(metadata)
}

/// The first topic that could not be made, and why. One that is there was made by somebody else.
pub(super) fn read_created(answer: &[u8]) -> Result<Option<(String, Code)>, Malformed> {
    let mut reader = Reader(answer);
    let mut failed = None;
    reader.int32()?;
    reader.each(|reader| {
        let (topic, code) = (reader.text()?, Code(reader.int16()?));
        reader.text()?;
        if code != Code::NONE && code != Code::EXISTS {
            failed.get_or_insert_with(|| (topic.to_owned(), code));
        }
        Ok(())
    })?;
    Ok(failed)
}

/// A topic, and where its next message will stand.
pub(super) type End = (String, Result<i64, Code>);

/// Where the next messages will stand.
pub(super) fn read_ends(answer: &[u8]) -> Result<Vec<End>, Malformed> {
    let mut ends = Vec::new();
    Reader(answer).each(|reader| {
        let topic = reader.text()?;
        reader.each(|reader| {
            let (_, code) = (reader.int32()?, Code(reader.int16()?));
            let (_, offset) = (reader.int64()?, reader.int64()?);
            let end = if code == Code::NONE { Ok(offset.max(0)) } else { Err(code) };
            ends.push((topic.to_owned(), end));
            Ok(())
        })
    })?;
    Ok(ends)
}

/// What was read of a topic.
pub(super) struct Fetched<'a> {
    pub(super) topic: &'a str,
    pub(super) code: Code,
    /// Batches of messages; the last may be cut off.
    pub(super) batches: &'a [u8],
}

pub(super) fn read_fetched(answer: &[u8]) -> Result<Vec<Fetched<'_>>, Malformed> {
    let mut fetched = Vec::new();
    let mut reader = Reader(answer);
    reader.int32()?;
    reader.each(|reader| {
        let topic = reader.text()?;
        reader.each(|reader| {
            let (_, code) = (reader.int32()?, Code(reader.int16()?));
            let (_, _) = (reader.int64()?, reader.int64()?);
            reader.each(|reader| reader.bytes(16).map(drop))?;
            fetched.push(Fetched { topic, code, batches: reader.blob()? });
            Ok(())
        })
    })?;
    Ok(fetched)
}

/// What became of what was written to each topic.
pub(super) fn read_produced(answer: &[u8]) -> Result<Vec<(&str, Code)>, Malformed> {
    let mut produced = Vec::new();
    Reader(answer).each(|reader| {
        let topic = reader.text()?;
        reader.each(|reader| {
            let (_, code) = (reader.int32()?, Code(reader.int16()?));
            let (_, _) = (reader.int64()?, reader.int64()?);
            produced.push((topic, code));
            Ok(())
        })
    })?;
    Ok(produced)
}

/// Whether a login was begun.
pub(super) fn read_handshake(answer: &[u8]) -> Result<Code, Malformed> {
    Reader(answer).int16().map(Code)
}

/// The server's side of a step of a login, or why it ends.
pub(super) fn read_authenticated(answer: &[u8]) -> Result<Result<&[u8], String>, Malformed> {
    let mut reader = Reader(answer);
    let (code, text) = (Code(reader.int16()?), reader.text()?);
    Ok(match code {
        Code::NONE => Ok(reader.blob()?),
        _ if text.is_empty() => Err(code.to_string()),
        _ => Err(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    #[test]
    fn requests_are_framed_with_number_and_name() {
        let frame = frame(&metadata(&["a".into()]), 7, "me");
        let expected = b"\0\0\0\x13\0\x03\0\x01\0\0\0\x07\0\x02me\0\0\0\x01\0\x01a";
        assert_eq!(frame, expected);
    }

    #[test]
    fn only_what_kafka_allows_can_be_a_topic() {
        for good in ["MOL.INFO", "MOL-a_b.REQ.node-1.2", &"x".repeat(TOPIC_LEN_MAX)] {
            assert!(is_topic(good), "{good}");
        }
        for bad in ["", "MOL.REQ.a b", "MOL.REQ.ä", "a/b", "a:b", &"x".repeat(TOPIC_LEN_MAX + 1)] {
            assert!(!is_topic(bad), "{bad}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_says_how_to_mend_it() {
        assert!(Code(10).to_string().contains("maxMessageSize"));
        assert_eq!(Code(99).to_string(), "error 99 of Kafka");
    }

    fn answer() -> Vec<u8> {
        let mut answer = Vec::new();
        array(&mut answer, &[1], |out, id| {
            int32(out, *id);
            string(out, "h");
            int32(out, 9092);
            int16(out, -1);
        });
        int32(&mut answer, 1);
        array(&mut answer, &[("a", 1), ("b", -1)], |out, (topic, leader)| {
            int16(out, 0);
            string(out, topic);
            out.push(0);
            array(out, &[0, 1], |out, index| {
                int16(out, 0);
                int32(out, *index);
                int32(out, *leader);
                array(out, &[1], |out, id| int32(out, *id));
                array(out, &[1, 2], |out, id| int32(out, *id));
            });
        });
        answer
    }

    #[test]
    fn metadata_name_servers_and_leaders() {
        let metadata = read_metadata(&answer()).unwrap();
        assert_eq!(metadata.nodes, [Node { id: 1, host: "h".into(), port: 9092 }]);
        assert_eq!(metadata.leaders, [("a".into(), Ok(1)), ("b".into(), Err(5))]);
    }

    static PIECES: [&[u8]; 4] = [b"\xff\xff", b"\x7f\xff\xff\xff", b"\0\0", b"\x80\x80\x80"];

    #[test]
    fn damaged_answers_never_panic_and_take_no_memory() {
        let mut damage = Damage::new(0x5eed_0006_c0ff_ee06, &PIECES);
        let answer = answer();
        for _ in 0..30_000 {
            let bytes = damage.copy(&answer);
            let _ = read_metadata(&bytes).map(|metadata| assert!(metadata.leaders.len() < 100));
            let _ = read_created(&bytes);
            let _ = read_ends(&bytes).map(|ends| assert!(ends.len() < 100));
            let _ = read_fetched(&bytes).map(|fetched| assert!(fetched.len() < 100));
            let _ = read_produced(&bytes);
            let _ = read_authenticated(&bytes);
            let _ = Reader(&bytes).varint();
        }
    }
}
