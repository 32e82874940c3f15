//! A web server for guests that ask it: polite, or hostile in one of the ways that a path names.

use std::sync::Arc;

use isomer_host::task;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::task::AbortOnDropHandle;

use crate::{tree, wait};

/// The server. It ends with this value.
pub struct WebServer {
    port: u16,
    counts: watch::Receiver<Counts>,
    _serving: AbortOnDropHandle<()>,
}

/// Connections so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// That began.
    pub begun: usize,
    /// That have ended, by whom ever.
    pub ended: usize,
}

impl WebServer {
    /// A server at all addresses of this machine.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that speaks TLS with the certificate in `tests/tls`, which is for `localhost` and `127.0.0.1`.
    pub async fn start_tls() -> Self {
        let file = |name: &str| tree::top().join("tests/tls").join(name);
        let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (count, counts) = watch::channel(Counts::default());
        let serving = task::run(async move {
            let mut answers = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, count) = (tls.clone(), count.clone());
                answers.push(task::run(async move {
                    count.send_modify(|counts| counts.begun += 1);
                    match tls {
                        None => serve(stream).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream).await,
                            Err(_) => None,
                        },
                    };
                    count.send_modify(|counts| counts.ended += 1);
                }));
            }
        });
        Self { port, counts, _serving: serving }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, as a guest names it.
    #[must_use]
    pub fn at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Connections until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the connections are as wanted.
    pub async fn until(&self, what: &str, wanted: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.clone();
        let _ = wait::for_result(what, counts.wait_for(wanted)).await.unwrap();
    }
}

/// Reads the head of a request and answers as its path says; `None` when the other end has gone.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Option<()> {
    let mut heard = Vec::new();
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4_096];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        heard.extend_from_slice(&piece[..n]);
    }
    let head = String::from_utf8_lossy(&heard).into_owned();
    let first = head.lines().next()?.to_owned();
    let path = first.split(' ').nth(1)?;
    let sized = |len: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    match path {
        "/big" => say(&mut stream, &(sized(1 << 20) + &"x".repeat(1 << 20))).await,
        // All that is sent is read, and its length is the answer.
        "/count" => {
            let body = heard.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            let len = chunked(&mut stream, heard.split_off(body)).await?.to_string();
            say(&mut stream, &(sized(len.len()) + &len)).await
        }
        "/never" => gone(&mut stream).await,
        "/redirect" => {
            let to = format!("http://{}/", head.split("host: ").nth(1)?.lines().next()?);
            let text = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            say(&mut stream, &text).await
        }
        // From here on, what no server should do.
        "/close" => Some(()),
        "/garbage" => say(&mut stream, "SSH-2.0-OpenSSH_9.6\r\n\r\n").await,
        "/short" => say(&mut stream, &(sized(100) + "0123456789")).await,
        "/long" => {
            say(&mut stream, &(sized(5) + "0123456789")).await?;
            gone(&mut stream).await
        }
        "/lie" => say(&mut stream, &sized(99_999_999_999)).await,
        "/two-lengths" => {
            let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n01234";
            say(&mut stream, text).await
        }
        "/100-fields" => say(&mut stream, &fields(100)).await,
        "/101-fields" => say(&mut stream, &fields(101)).await,
        "/10000-fields" => say(&mut stream, &fields(10_000)).await,
        "/endless-head" => {
            say(&mut stream, "HTTP/1.1 200 OK\r\nx: ").await?;
            flood(&mut stream, &"x".repeat(4_096)).await
        }
        "/endless-hints" => flood(&mut stream, "HTTP/1.1 103 Early Hints\r\n\r\n").await,
        "/endless-body" => {
            say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            flood(&mut stream, &format!("1000\r\n{}\r\n", "x".repeat(4_096))).await
        }
        "/endless-trailer" => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ";
            say(&mut stream, head).await?;
            flood(&mut stream, &"x".repeat(4_096)).await
        }
        // A few bytes, and then a silence that lasts.
        "/drip" => {
            say(&mut stream, &(sized(100) + "012")).await?;
            gone(&mut stream).await
        }
        _ => say(&mut stream, &(sized(first.len()) + &first)).await,
    }
}

/// An answer with a head of so many lines, after the first.
fn fields(n: usize) -> String {
    let fields: String = (1..n).map(|n| format!("x-{n}: {n}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> Option<()> {
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// Sends until nobody takes it any more.
async fn flood(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> Option<()> {
    loop {
        say(stream, text).await?;
    }
}

/// Waits for the other end to go.
async fn gone(stream: &mut (impl AsyncRead + Unpin)) -> Option<()> {
    let mut piece = [0; 4_096];
    while stream.read(&mut piece).await.ok()? > 0 {}
    None
}

/// Bytes of a chunked body.
async fn chunked(stream: &mut (impl AsyncRead + Unpin), begun: Vec<u8>) -> Option<usize> {
    let mut heard = begun;
    while !heard.ends_with(b"0\r\n\r\n") {
        let mut piece = [0; 4_096];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        heard.extend_from_slice(&piece[..n]);
    }
    Some(heard.iter().filter(|byte| **byte == b'y').count())
}
