//! HTTP requests of guests (`wasi:http/outgoing-handler`): to granted hosts, bounded in number, bytes and time.
//!
//! There is a connection for each request (HTTP/1.1); nothing is followed, no proxy is asked, and TLS trusts whom
//! the system trusts. A request ends with the handler that began it, read or not. Not here: where a request may go
//! (`destination`), and how much it may carry (`bounded`).

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, WasiHttpView as _};

use crate::clock::{self, Instant};
use crate::runtime::environment::Environment;
use crate::runtime::reach::Reach;
use crate::runtime::state::State;
use crate::task::CancellationToken;
use crate::tls;
use bounded::Bounded;
use destination::Destination;

mod bounded;
mod destination;

/// Bytes of the head of a request and of its answer, each; also what is read ahead of an answer.
const HEAD_LEN_MAX: usize = 32 << 10;
/// Bytes of one collection of header fields that a guest makes, with what they cost in memory. wasmtime knows no other
/// answer to one more than a trap, so it is far beyond what can be sent.
pub(in crate::runtime) const FIELDS_LEN_MAX: usize = 64 << 10;
/// Lines in the head of an answer.
const HEADERS_MAX: usize = 100;
/// Bytes of one piece of a request's body, of which two wait at most.
const PIECE_LEN_MAX: usize = 16 << 10;

/// What has been sent and answered, and the connection, to be driven to its end.
type Answered = Result<(Response<WasiBody>, Connection), Error>;
type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Whom TLS trusts; found out with the first request that needs it.
#[derive(Default)]
pub(super) struct Tls(OnceLock<Result<Arc<ClientConfig>, String>>);

/// What an instance sends its requests by.
pub(in crate::runtime) struct Hooks {
    environment: Arc<Environment>,
    connections: Arc<Semaphore>,
    /// Cancelled when the handler that runs has ended; `None` when several run, or none.
    ended: Option<CancellationToken>,
}

/// What one request may take.
struct Bounds {
    ended: CancellationToken,
    until: Instant,
    body: bounded::Most,
    options: RequestOptions,
}

impl Hooks {
    pub(in crate::runtime) fn new(environment: &Arc<Environment>) -> Self {
        let n_requests = environment.limits.http_requests.min(Semaphore::MAX_PERMITS);
        Self {
            environment: Arc::clone(environment),
            connections: Arc::new(Semaphore::new(n_requests)),
            ended: None,
        }
    }

    /// Notes what the requests that are begun now end with.
    pub(in crate::runtime) fn end_with(&mut self, ended: Option<CancellationToken>) {
        self.ended = ended;
    }

    /// The limits of a request that begins now. The time is the most that a handler may take: what is left to the
    /// one that runs is told by its end. When several run in one instance nobody knows whose request it is.
    fn bounds(&self, options: Option<RequestOptions>) -> Bounds {
        let limits = &self.environment.limits;
        let time = match self.ended {
            Some(_) => limits.timeout.max(limits.stream_timeout),
            None => limits.timeout,
        };
        let now = clock::now();
        Bounds {
            ended: self.ended.clone().unwrap_or_default(),
            until: now.checked_add(time).unwrap_or(now + Duration::from_secs(86_400)),
            body: bounded::Most {
                len: u64::try_from(limits.http_body).unwrap_or(u64::MAX),
                refused: self.environment.counters.http_refused.clone(),
            },
            options: options.unwrap_or_default(),
        }
    }
}

impl Bounds {
    /// Work that ends with the handler and in time.
    async fn hold<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut ended = pin!(self.ended.cancelled());
        let mut work = pin!(work);
        let either = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => ended.as_mut().poll(cx).map(|()| None),
        });
        clock::within(self.until, either).await.flatten()
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _told: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let bounds = self.bounds(options);
        let environment = Arc::clone(&self.environment);
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        Box::new(async move {
            let Ok(permit) = permit else {
                environment.counters.http_refused.increment();
                return Err(Error::ConnectionLimitReached);
            };
            environment.counters.http_requests.increment();
            let answered = bounds.hold(exchange(&environment.reach, request, &bounds)).await;
            let (answer, connection) = answered.unwrap_or(Err(Error::HttpResponseTimeout))?;
            Ok((answer, Box::new(drive(connection, bounds, permit)) as Connection))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE_LEN_MAX
    }

    // Those of wasmtime would write a line of the log for each failure, which a guest could make without end.

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        let source = std::error::Error::source(error);
        match source.and_then(|source| source.downcast_ref::<Error>()) {
            Some(Error::HttpRequestBodySize(len)) => return ErrorCode::HttpRequestBodySize(*len),
            Some(Error::ConnectionWriteTimeout) => return ErrorCode::ConnectionWriteTimeout,
            _ => {}
        }
        let source = source.and_then(|source| source.downcast_ref::<io::Error>());
        let cut = source.is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof);
        if error.is_parse_too_large() {
            self.environment.counters.http_refused.increment();
            return ErrorCode::HttpResponseHeaderSectionSize(u32::try_from(HEAD_LEN_MAX).ok());
        }
        if cut || error.is_incomplete_message() {
            return ErrorCode::HttpResponseIncomplete;
        }
        match error.is_parse() || error.is_user() {
            true => ErrorCode::HttpProtocolError,
            false => ErrorCode::ConnectionTerminated,
        }
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        match error.kind() {
            ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, error: &io::Error) -> ErrorCode {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => ErrorCode::TlsCertificateError,
            _ => ErrorCode::TlsProtocolError,
        }
    }
}

/// As wasmtime names what is put in the place of its own functions; `tests/it/grants_http.rs` notices when it names it
/// otherwise.
const TYPES: &str = "wasi:http/types@0.2.12";
const IO_ERROR: &str = "wasi:io/error@0.2.12";

/// Puts functions in the place of wasmtime's: the error of a body has its code, too, and no text for a guest tells of
/// the program around it.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, State>, (error,): (Resource<wasmtime::Error>,)| {
            let view = store.data_mut().http();
            let error = view.table.get(&error)?;
            let code = match error.downcast_ref::<Error>() {
                Some(error) => Some(code_of(error, view.hooks)),
                None => error.downcast_ref::<ErrorCode>().cloned(),
            };
            Ok((code,))
        },
    )?;
    linker.instance(IO_ERROR)?.func_wrap(
        "[method]error.to-debug-string",
        |mut store: StoreContextMut<'_, State>, (error,): (Resource<wasmtime::Error>,)| {
            Ok((format!("{:#}", store.data_mut().table.get(&error)?),))
        },
    )
}

/// The code of what a body can end with.
fn code_of(error: &Error, hooks: &mut dyn WasiHttpHooks) -> ErrorCode {
    match error {
        Error::Hyper(error) => hooks.p2_error_from_hyper(error),
        Error::HttpResponseBodySize(len) => ErrorCode::HttpResponseBodySize(*len),
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        error => ErrorCode::InternalError(Some(error.to_string())),
    }
}

/// What hyper can speak through.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Http1 = http1::Connection<TokioIo<Box<dyn Stream>>, Bounded<WasiBody>>;

/// Sends a request and waits for the head of its answer. The connection comes back as long as it is not done.
async fn exchange(
    reach: &Reach,
    mut request: Request<WasiBody>,
    bounds: &Bounds,
) -> Result<(Response<WasiBody>, Option<Pin<Box<Http1>>>), Error> {
    let to = Destination::of(request.uri())?;
    let addresses = reach.addresses(&to).await?;
    // A tunnel would lead anywhere.
    if request.method() == Method::CONNECT {
        return Err(Error::HttpRequestMethodInvalid);
    }
    bounds.body.check(request.body(), Error::HttpRequestBodySize)?;
    if head_len(&request) > HEAD_LEN_MAX {
        bounds.body.refused.increment();
        return Err(Error::HttpRequestHeaderSectionSize(u32::try_from(HEAD_LEN_MAX).ok()));
    }
    let times = &bounds.options;
    let connecting = connect(reach, &to, &addresses);
    let stream = in_time(times.connect_timeout, connecting, Error::ConnectionTimeout).await?;
    *request.uri_mut() = origin_form(request.uri())?;
    let pause = times.between_bytes_timeout;
    let most = &bounds.body;
    let request = request.map(|body| {
        most.bound(body, pause, Error::HttpRequestBodySize, Error::ConnectionWriteTimeout)
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_LEN_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let mut connection = Some(Box::pin(connection));
    let mut sending = pin!(sender.send_request(request));
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = sending.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if let Some(going) = &mut connection
            && going.as_mut().poll(cx).is_ready()
        {
            // It may have brought the answer as its last deed; else the answer knows what went wrong.
            connection = None;
            return sending.as_mut().poll(cx);
        }
        Poll::Pending
    });
    let late = Error::ConnectionReadTimeout;
    let answer = in_time(times.first_byte_timeout, async { Ok(answer.await?) }, late).await?;
    most.check(answer.body(), Error::HttpResponseBodySize)?;
    let answer = answer.map(|body: Incoming| {
        let late = Error::ConnectionReadTimeout;
        WasiBody::new(most.bound(body, pause, Error::HttpResponseBodySize, late))
    });
    Ok((answer, connection))
}

/// Drives a connection while its answer is read. Who reads learns from the body how it ended.
async fn drive(
    connection: Option<Pin<Box<Http1>>>,
    bounds: Bounds,
    permit: OwnedSemaphorePermit,
) -> Result<(), Error> {
    if let Some(connection) = connection {
        let _ = bounds.hold(connection).await;
    }
    drop(permit);
    Ok(())
}

/// Bytes of a head, nearly.
fn head_len(request: &Request<WasiBody>) -> usize {
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    request.method().as_str().len() + authority + path + fields.sum::<usize>()
}

/// The path, which is all that the server wants of a URI: where it is, the guest has told us.
fn origin_form(uri: &Uri) -> Result<Uri, Error> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // An empty one is shown as `/`, but would be sent as nothing.
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let path = PathAndQuery::try_from(path).map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Uri::from(path))
}

async fn in_time<T>(
    time: Option<Duration>,
    work: impl Future<Output = Result<T, Error>>,
    late: Error,
) -> Result<T, Error> {
    match time.and_then(|time| clock::now().checked_add(time)) {
        Some(until) => clock::within(until, work).await.unwrap_or(Err(late)),
        None => work.await,
    }
}

async fn connect(
    reach: &Reach,
    to: &Destination,
    addresses: &[SocketAddr],
) -> Result<Box<dyn Stream>, Error> {
    let stream = TcpStream::connect(addresses).await.map_err(Error::Connect)?;
    if !to.https {
        return Ok(Box::new(stream));
    }
    let config = reach.tls.0.get_or_init(tls::client_config).as_ref();
    let config = config.map_err(|why| Error::InternalError(Some(why.clone())))?;
    let name = ServerName::try_from(to.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(Error::Tls)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_a_path_and_nothing_else() {
        for (uri, path) in [
            ("http://a.b", "/"),
            ("http://a.b/", "/"),
            ("http://a.b?c=d", "/?c=d"),
            ("http://a.b/?", "/?"),
            ("https://a.b:1/c//d?e=http://f", "/c//d?e=http://f"),
        ] {
            assert_eq!(origin_form(&uri.parse().unwrap()).unwrap().to_string(), path);
        }
        let empty = Uri::builder().scheme("http").authority("a.b").path_and_query("");
        let path = origin_form(&empty.build().unwrap()).unwrap();
        assert_eq!(path.path_and_query().unwrap().as_str().len(), path.to_string().len());
    }
}
