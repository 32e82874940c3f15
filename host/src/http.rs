//! A small HTTP/1.1 client: a POST and its answer, over a connection that may be kept.
//!
//! Nothing runs in the background: a connection is driven while somebody waits for an answer on it, so that
//! whoever drops the answer ends all of it. Heads and bodies of answers are bounded. How long anything may
//! take, whether it is tried again, and which connections are kept, is up to who asks.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::config::HttpUrl;
use crate::error::explained;
use crate::tls;

/// Largest head of an answer, in bytes, and most of its lines.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Bytes that are read at once.
const READ_LEN: usize = 8 << 10;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// What is sent.
pub(crate) struct Post<'a> {
    /// With its query.
    pub(crate) path: &'a str,
    /// Beside `Host`, `Content-Type` and `Content-Length`.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Most bytes of the answer's body.
    pub(crate) answer_max: usize,
}

/// A connection that may be used again.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; `None` once it has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    authority: String,
}

impl Connection {
    /// Connects to the server of an address.
    pub(crate) async fn open(url: &HttpUrl) -> Result<Self, String> {
        let socket = TcpStream::connect((url.host(), url.port())).await;
        let socket = socket.map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        if url.tls() {
            let stream = tls::encrypt(socket, url.host()).await;
            Self::on(stream.map_err(|error| format!("TLS: {error}"))?, url.authority()).await
        } else {
            Self::on(socket, url.authority()).await
        }
    }

    async fn on<S>(stream: S, authority: String) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
        let (sender, connection) =
            http.handshake(Io(stream)).await.map_err(|error| explained(&error))?;
        // Why it ended is said to whoever waits for an answer.
        let driver = async move { drop(connection.await) };
        Ok(Self { sender, driver: Some(Box::pin(driver)), authority })
    }

    /// Sends and reads the answer. Gives the connection back when it can be used again.
    pub(crate) async fn post(mut self, post: Post<'_>) -> Result<(Answer, Option<Self>), String> {
        let answer_max = post.answer_max;
        let request = self.request(post)?;
        let Self { sender, driver, .. } = &mut self;
        let work = async {
            sender.ready().await.map_err(|error| explained(&error))?;
            let response = sender.send_request(request).await.map_err(|error| explained(&error))?;
            let again = keeps(&response);
            Ok::<_, String>((read(response, answer_max).await?, again))
        };
        let (answer, again) = drive(driver, work).await?;
        let again = again && self.driver.is_some();
        Ok((answer, again.then_some(self)))
    }

    fn request(&self, post: Post<'_>) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(post.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, post.content_type)
            .body(Full::new(post.body))
            .map_err(|error| error.to_string())?;
        for (name, value) in post.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }
}

/// A stream of tokio as hyper wants it.
struct Io<S>(S);

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut bytes = [0; READ_LEN];
        let room = bytes.len().min(into.remaining());
        let mut read = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The headers of a login, as the text of `Authorization`; none when it is no text of a header, since an end of
/// line in it would begin a header of its own.
pub(crate) fn authorization(text: Option<&str>) -> HeaderMap {
    let value = text.and_then(|text| HeaderValue::from_str(text).ok());
    value.into_iter().map(|value| (AUTHORIZATION, value)).collect()
}

/// The result of `work`, while the connection that it needs is driven.
async fn drive<T>(
    driver: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    if let Some(driving) = driver {
        if let Either::Left((done, _)) = select(work.as_mut(), driving).await {
            return done;
        }
        *driver = None;
    }
    work.await
}

fn keeps(response: &Response<Incoming>) -> bool {
    let close = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    response.version() == Version::HTTP_11 && !response.headers().get(CONNECTION).is_some_and(close)
}

async fn read(response: Response<Incoming>, most: usize) -> Result<Answer, String> {
    let status = response.status();
    let body = response.into_body();
    let too_large = || format!("an answer has more than {most} bytes");
    if usize::try_from(body.size_hint().lower()).is_ok_and(|size| size > most) {
        return Err(too_large());
    }
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(error) => explained(&error),
        Err(_) => too_large(),
    })?;
    Ok(Answer { status, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What is made of an answer; and whether the connection stays.
    async fn answered(text: &str) -> Result<(u16, String, bool), String> {
        let (mut server, stream) = duplex(1 << 16);
        let connection = Connection::on(stream, "h:1".into()).await?;
        let answer = async {
            let mut request = vec![0; 512];
            let mut read = 0;
            while !request[..read].ends_with(b"{}") {
                read += server.read(&mut request[read..]).await.unwrap();
            }
            request.truncate(read);
            // In pieces, as a network may bring it.
            for piece in text.as_bytes().chunks(7) {
                // A client that has seen enough does not read the rest.
                let _ = server.write_all(piece).await;
            }
            drop(server);
            String::from_utf8(request).unwrap()
        };
        let headers = authorization(Some("t"));
        let post = connection.post(Post {
            path: "/p",
            headers: &headers,
            content_type: "application/json",
            body: Bytes::from_static(b"{}"),
            answer_max: 20,
        });
        let (request, answer) = tokio::join!(answer, post);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
        lines.sort();
        let expected = [
            "authorization: t",
            "content-length: 2",
            "content-type: application/json",
            "host: h:1",
        ];
        assert_eq!((&lines[..4], body), (&expected.map(str::to_owned)[..], "{}"));
        assert_eq!(lines[4], "post /p http/1.1");
        let (answer, again) = answer?;
        Ok((
            answer.status.as_u16(),
            String::from_utf8(answer.body.to_vec()).unwrap(),
            again.is_some(),
        ))
    }

    #[tokio::test]
    async fn bodies_of_every_form_are_read() {
        let check = async |text: &str, body: &str| {
            let (status, read, _) = answered(text).await.unwrap();
            assert_eq!((status, &*read), (200, body), "{text}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello").await;
        check("HTTP/1.0 200 OK\r\n\r\nhello", "hello").await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"), "hello world").await;
        check(&format!("{chunked}1\r\na\r\n0\r\nT: x\r\n\r\n"), "a").await;
        let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(answered(last).await, Ok((200, String::new(), false)));
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_a_closed_one_says_so() {
        let (mut server, stream) = duplex(1 << 16);
        let mut connection = Connection::on(stream, "h:1".into()).await.unwrap();
        let headers = HeaderMap::new();
        let post = || Post {
            path: "/",
            headers: &headers,
            content_type: "text/plain",
            body: Bytes::from_static(b"x"),
            answer_max: 20,
        };
        for n in ["1", "2"] {
            let answer = async {
                let mut request = [0; 512];
                while !request.contains(&b'x') {
                    let _ = server.read(&mut request).await.unwrap();
                }
                let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
                server.write_all(text.as_bytes()).await.unwrap();
            };
            let ((), outcome) = tokio::join!(answer, connection.post(post()));
            let (answer, again) = outcome.unwrap();
            assert_eq!(&*answer.body, n.as_bytes());
            connection = again.unwrap();
        }
        drop(server);
        assert!(connection.post(post()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_http_or_too_large_is_refused() {
        let refused = async |text: &str, cause: &str| {
            let error = answered(text).await.unwrap_err();
            assert!(error.contains(cause), "{error} for {text}");
        };
        refused("SSH-2.0-x\r\n\r\n", "invalid HTTP").await;
        refused("", "closed").await;
        refused(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "end of file before message length",
        )
        .await;
        refused("HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n", "more than 20").await;
        refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "content-length").await;
        refused(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_MAX)), "too large").await;
        let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
        refused(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "too large").await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&format!("{chunked}10\r\n{}\r\n5\r\nxxxxx\r\n", "x".repeat(16)), "more than 20")
            .await;
        refused(&format!("{chunked}zz\r\n"), "hunk").await;
        let endless = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(30));
        refused(&endless, "more than 20").await;
    }
}
