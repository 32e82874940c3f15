//! The client's side of the control socket: a [`Caller`] that reaches the broker of another process.
//!
//! Every request has a connection of its own, so that dropping its future ends the request on the node; so
//! does dropping a stream that is its result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::admin::protocol::{self, Body, Mode, Request, Response, Versions};
use crate::admin::stream::{self, Received};
use crate::context::{CallOptions, Caller, EmitOptions, EventType, Outcome};
use crate::error::MoleculerError;
use crate::payload::stream::StreamReader;
use crate::payload::{Payload, Stream};
use crate::task;

/// A node that is reached through its control socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: Arc<PathBuf>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the control socket {} cannot be reached: {source}", path.display())]
    Connect { path: PathBuf, source: std::io::Error },
    #[error("the control socket {} belongs to another user", path.display())]
    Foreign { path: PathBuf },
    #[error("the node closed the connection before it answered; its log may say why")]
    Closed,
    #[error("the node refused the request: {0}")]
    Refused(String),
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
}

impl Client {
    /// A client of the node that listens at `path`. Nothing is opened yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path: Arc::new(path) }
    }

    /// Where it connects to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the node who it is: the JSON that it was started with.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&self) -> Outcome {
        self.clone().ask(Request::Info, Payload::Absent, None).await
    }

    /// Asks about the versions of a service.
    ///
    /// # Errors
    /// What the node answers, or that it does not.
    pub async fn versions(&self, question: Versions) -> Outcome {
        self.clone().ask(Request::Versions(question), Payload::Absent, None).await
    }

    async fn ask(self, request: Request, payload: Payload, stream: Option<Stream>) -> Outcome {
        match self.exchange(request, payload, stream).await {
            Ok(outcome) => outcome,
            Err(error) => Err(MoleculerError::internal(error.to_string())),
        }
    }

    async fn exchange(
        &self,
        request: Request,
        payload: Payload,
        stream: Option<Stream>,
    ) -> Result<Outcome, Error> {
        let (mut reader, mut writer) = self.connect().await?.into_split();
        let (_, body) = Body::of(&payload);
        let sent = protocol::write(&mut writer, &request, &body).await;
        if let Err(error @ (protocol::Error::TooLong { .. } | protocol::Error::TooSlow)) = sent {
            return Err(error.into());
        }
        let upload = Upload::start(writer, stream.and_then(|stream| stream.take()));
        // A node that refuses may say so and close before it has read everything.
        let answer = match (protocol::read::<Response, _>(&mut reader).await, sent) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error.into()),
        };
        let (response, body) = answer.ok_or(Error::Closed)?;
        match response {
            Response::Ok { result } => {
                let result = result.into_payload(body)?;
                upload.finish().await;
                Ok(Ok(result))
            }
            Response::Stream { mode } => Ok(Ok(download(reader, mode, upload))),
            Response::Refused { reason } => Err(Error::Refused(reason)),
            Response::Failed { error } => {
                let wire = serde_json::from_str(error.get())
                    .map_err(|error| protocol::Error::Malformed(error.to_string()))?;
                Ok(Err(MoleculerError::from_wire(wire, &Arc::from(""))))
            }
        }
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        let path = || self.path.to_path_buf();
        let connect = UnixStream::connect(&*self.path).await;
        let stream = connect.map_err(|source| Error::Connect { path: path(), source })?;
        let peer = stream.peer_cred().map_err(|source| Error::Connect { path: path(), source })?;
        let own = rustix::process::getuid().as_raw();
        // Params may be secret; they are not for whoever put a socket there first.
        if peer.uid() != own && peer.uid() != 0 && own != 0 {
            return Err(Error::Foreign { path: path() });
        }
        Ok(stream)
    }
}

/// The client's half of a connection into which it writes: open as long as the request is to go on.
struct Upload(AbortOnDropHandle<OwnedWriteHalf>);

impl Upload {
    /// Sends the stream that goes with the request, if there is one, while the answer is awaited.
    fn start(mut writer: OwnedWriteHalf, stream: Option<StreamReader>) -> Self {
        Self(task::run(async move {
            if let Some(mut stream) = stream
                && let Err(error) = stream::send(&mut writer, &mut stream).await
            {
                // The node has closed, because nobody there reads any more; its answer says the rest.
                tracing::debug!(%error, "a stream was not sent to its end");
            }
            writer
        }))
    }

    /// Waits until all is sent, or nobody wants it.
    async fn finish(self) {
        // A task that panicked is over as well.
        let _ = self.0.await;
    }
}

/// A result that is a stream: it comes while it is read.
fn download(mut reader: OwnedReadHalf, mode: Mode, upload: Upload) -> Payload {
    let (writer, result) = mode.channel(stream::BUFFER);
    task::spawn_on(&Handle::current(), "admin download", async move {
        // Closed by either side, the connection ends the call on the node.
        if stream::receive(&mut reader, writer).await == Received::All {
            upload.finish().await;
        }
    });
    Payload::Stream(result)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Caller for Client {
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        let request = Request::Call {
            action: action.to_owned(),
            node_id: options.node_id.as_deref().map(str::to_owned),
            timeout: options.timeout.map(millis),
            retries: options.retries,
            meta: options.meta,
            headers: options.headers,
            request_id: options.request_id.as_deref().map(str::to_owned),
            params: Body::of(&params).0,
            stream: options.stream.as_ref().map(Mode::of),
        };
        self.clone().ask(request, params, options.stream).boxed()
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        let request = Request::Emit {
            event: event.to_owned(),
            kind,
            groups: options.groups.iter().map(ToString::to_string).collect(),
            meta: options.meta,
            headers: options.headers,
            data: Body::of(&data).0,
        };
        self.clone().ask(request, data, None).map(|sent| sent.map(drop)).boxed()
    }

    fn ping(&self, nodes: Vec<Arc<str>>, timeout: Duration) -> BoxFuture<'static, Outcome> {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        let request = Request::Ping { nodes, timeout: millis(timeout) };
        self.clone().ask(request, Payload::Absent, None).boxed()
    }

    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        let request = Request::Wait { services, timeout: timeout.map(millis) };
        self.clone().ask(request, Payload::Absent, None).map(|waited| waited.map(drop)).boxed()
    }
}
