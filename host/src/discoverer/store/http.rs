//! The little of HTTP/1.1 that etcd's JSON gateway needs: a POST of JSON and its answer, over connections
//! that are kept.
//!
//! Nothing of an answer is believed before its size is checked: heads and bodies are bounded, and whatever
//! is no HTTP ends the connection. Not here: what is asked.

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tls;

/// Largest head of an answer, in bytes, and most of its lines.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Longest line before a part of a body.
const CHUNK_LINE_MAX: usize = 256;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    tls: bool,
    name: String,
    port: u16,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection that may be used again.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    authority: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How the size of a body is told.
enum Framing {
    Sized(usize),
    Chunked,
    UntilClosed,
}

impl Host {
    /// `host[:port]`, `http://host[:port]` or `https://host[:port]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(format!("'{scheme}' is not http or https")),
        };
        let place = rest.trim_end_matches('/');
        if place.contains(['@', '/', '?', '#']) || place.contains(char::is_whitespace) {
            return Err("what is no host and port does not belong there".into());
        }
        let (name, port) = match place.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                (name, port.parse().map_err(|_| "the port is not a number up to 65535")?)
            }
            _ => (place, default_port),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() {
            return Err("the host is missing".into());
        }
        Ok(Self { tls, name: name.to_owned(), port })
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let socket = TcpStream::connect((self.name.as_str(), self.port)).await;
        let socket = socket.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream: Box<dyn Stream> = if self.tls {
            let stream = tls::encrypt(socket, &self.name).await;
            Box::new(stream.map_err(|error| format!("TLS: {error}"))?)
        } else {
            Box::new(socket)
        };
        let name =
            if self.name.contains(':') { format!("[{}]", self.name) } else { self.name.clone() };
        let authority = format!("{name}:{}", self.port);
        Ok(Connection { stream, buffer: BytesMut::new(), authority })
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl Connection {
    /// Sends JSON and reads the answer, whose body has `body_max` bytes at most. Gives the connection back
    /// when it can be used again.
    pub(super) async fn post(
        mut self,
        path: &str,
        authorization: Option<&str>,
        json: &str,
        body_max: usize,
    ) -> Result<(Answer, Option<Self>), String> {
        // A token with an end of line in it would begin a header of its own.
        let authorization = authorization
            .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{authorization}\
             Content-Length: {}\r\n\r\n{json}",
            self.authority,
            json.len(),
        );
        let io = |error: std::io::Error| error.to_string();
        self.stream.write_all(request.as_bytes()).await.map_err(io)?;
        self.stream.flush().await.map_err(io)?;
        let (status, framing, keeps) = self.head().await?;
        let body = match framing {
            Framing::Sized(size) => self.sized(size, body_max).await?,
            Framing::Chunked => self.chunked(body_max).await?,
            Framing::UntilClosed => self.until_closed(body_max).await?,
        };
        let again = keeps && self.buffer.is_empty();
        Ok((Answer { status, body }, again.then_some(self)))
    }

    /// Status, how the body ends, and whether the connection stays.
    async fn head(&mut self) -> Result<(u16, Framing, bool), String> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&self.buffer).map_err(|error| format!("no HTTP: {error}"))?;
            if let httparse::Status::Complete(size) = parsed {
                let status = head.code.unwrap_or(0);
                let (framing, keeps) = framing(&head)?;
                self.buffer.advance(size);
                return Ok((status, framing, keeps));
            }
            if self.buffer.len() >= HEAD_MAX {
                return Err(format!("the head of an answer has more than {HEAD_MAX} bytes"));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn sized(&mut self, size: usize, body_max: usize) -> Result<Vec<u8>, String> {
        if size > body_max {
            return Err(too_large(body_max));
        }
        while self.buffer.len() < size {
            self.read().await?;
        }
        Ok(self.buffer.split_to(size).to_vec())
    }

    async fn chunked(&mut self, body_max: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let size = self.chunk_size().await?;
            if size > body_max - body.len() {
                return Err(too_large(body_max));
            }
            if size == 0 {
                return self.trailers().await.map(|()| body);
            }
            let mut chunk = self.sized(size + 2, body_max + 2).await?;
            if chunk.split_off(size) != b"\r\n" {
                return Err("no HTTP: a part of a body has no end".into());
            }
            body.append(&mut chunk);
        }
    }

    async fn chunk_size(&mut self) -> Result<usize, String> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.buffer);
            match parsed.map_err(|_| "no HTTP: a part of a body has no size")? {
                httparse::Status::Complete((line, size)) => {
                    self.buffer.advance(line);
                    return usize::try_from(size).map_err(|error| error.to_string());
                }
                httparse::Status::Partial if self.buffer.len() > CHUNK_LINE_MAX => {
                    return Err("no HTTP: a part of a body has no size".into());
                }
                httparse::Status::Partial => self.read().await?,
            }
        }
    }

    /// What follows the last part: lines up to an empty one.
    async fn trailers(&mut self) -> Result<(), String> {
        let mut left = HEAD_MAX;
        loop {
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                if self.buffer.len() > left {
                    return Err(format!("the end of an answer has more than {HEAD_MAX} bytes"));
                }
                self.read().await?;
                continue;
            };
            let line = self.buffer.split_to(end + 1);
            left = left.saturating_sub(line.len());
            if matches!(&line[..], b"\r\n" | b"\n") {
                return Ok(());
            }
        }
    }

    async fn until_closed(&mut self, body_max: usize) -> Result<Vec<u8>, String> {
        loop {
            if self.buffer.len() > body_max {
                return Err(too_large(body_max));
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|error| error.to_string())? == 0 {
                return Ok(self.buffer.split().to_vec());
            }
        }
    }
}

fn too_large(body_max: usize) -> String {
    format!("an answer has more than {body_max} bytes")
}

fn framing(head: &httparse::Response<'_, '_>) -> Result<(Framing, bool), String> {
    let header = |name: &str| {
        let mut headers = head.headers.iter();
        let value = headers.find(|header| header.name.eq_ignore_ascii_case(name))?.value;
        std::str::from_utf8(value).ok().map(str::trim)
    };
    let keeps = head.version == Some(1)
        && !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok((Framing::Chunked, keeps));
    }
    match header("content-length").map(str::parse) {
        Some(Ok(size)) => Ok((Framing::Sized(size), keeps)),
        Some(Err(_)) => Err("no HTTP: the size of the body is no number".into()),
        None => Ok((Framing::UntilClosed, false)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What is made of an answer; and whether the connection stays.
    async fn answered(text: &str) -> Result<(u16, String, bool), String> {
        let (mut server, stream) = duplex(1 << 16);
        let stream: Box<dyn Stream> = Box::new(stream);
        let connection = Connection { stream, buffer: BytesMut::new(), authority: "h:1".into() };
        let answer = async {
            let mut request = vec![0; 512];
            let n = server.read(&mut request).await.unwrap();
            request.truncate(n);
            // In pieces, as a network may bring it.
            for piece in text.as_bytes().chunks(7) {
                // A client that has seen enough does not read the rest.
                let _ = server.write_all(piece).await;
            }
            drop(server);
            String::from_utf8(request).unwrap()
        };
        let post = connection.post("/p", Some("t"), "{}", 20);
        let (request, answer) = tokio::join!(answer, post);
        let expected = "POST /p HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\n\
                        Authorization: t\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(request, expected);
        let (answer, again) = answer?;
        Ok((answer.status, String::from_utf8(answer.body).unwrap(), again.is_some()))
    }

    #[tokio::test]
    async fn bodies_of_every_form_are_read() {
        let check = async |text: &str, body: &str, stays: bool| {
            assert_eq!(answered(text).await, Ok((200, body.to_owned(), stays)), "{text}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true).await;
        check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n", "", false).await;
        check("HTTP/1.0 200 OK\r\n\r\nhello", "hello", false).await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"), "hello world", true)
            .await;
        check(&format!("{chunked}1\r\na\r\n0\r\nT: x\r\n\r\n"), "a", true).await;
    }

    #[tokio::test]
    async fn what_is_no_http_or_too_large_is_refused() {
        let refused = async |text: &str, cause: &str| {
            let error = answered(text).await.unwrap_err();
            assert!(error.contains(cause), "{error} for {text}");
        };
        refused("SSH-2.0-x\r\n\r\n", "no HTTP").await;
        refused("", "closed").await;
        refused("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "closed").await;
        refused("HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n", "more than 20").await;
        refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number").await;
        refused(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_MAX)), "head").await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&format!("{chunked}ffffffffffffffff\r\n"), "more than 20").await;
        refused(&format!("{chunked}10\r\n{}\r\n5\r\n", "x".repeat(16)), "more than 20").await;
        refused(&format!("{chunked}zz\r\n"), "no size").await;
        refused(&format!("{chunked}1\r\nabc"), "no end").await;
        let endless = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(30));
        refused(&endless, "more than 20").await;
    }

    #[test]
    fn hosts_are_read_in_all_forms() {
        let host = |tls, name: &str, port| Ok(Host { tls, name: name.into(), port });
        assert_eq!(Host::parse("h", 2379), host(false, "h", 2379));
        assert_eq!(Host::parse("http://h:1/", 2379), host(false, "h", 1));
        assert_eq!(Host::parse("https://[::1]:1", 2379), host(true, "::1", 1));
        assert_eq!(Host::parse("[::1]", 2379), host(false, "::1", 2379));
        for bad in ["", "ftp://h", "h:x", "h/p", "u:p@h", "h?x", "http://:1"] {
            assert!(Host::parse(bad, 2379).is_err(), "{bad}");
        }
    }
}
