//! The client's side of the control socket: a [`Caller`] that reaches the broker of another process.
//!
//! Every request has a connection of its own, so that dropping its future ends the request on the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::UnixStream;

use crate::admin::protocol::{self, Body, EmitKind, Request, Response};
use crate::context::{CallOptions, Caller, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;

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
        self.clone().ask(Request::Info, Payload::Absent).await
    }

    async fn ask(self, request: Request, payload: Payload) -> Outcome {
        match self.exchange(request, payload).await {
            Ok(outcome) => outcome,
            Err(error) => Err(MoleculerError::internal(error.to_string())),
        }
    }

    async fn exchange(&self, request: Request, payload: Payload) -> Result<Outcome, Error> {
        let mut stream = self.connect().await?;
        let (_, body) = Body::of(&payload);
        let sent = protocol::write(&mut stream, &request, &body).await;
        if let Err(error @ (protocol::Error::TooLong { .. } | protocol::Error::TooSlow)) = sent {
            return Err(error.into());
        }
        // A node that refuses may say so and close before it has read everything.
        let answer = match (protocol::read::<Response, _>(&mut stream).await, sent) {
            (Ok(answer), _) => answer,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error.into()),
        };
        let (response, body) = answer.ok_or(Error::Closed)?;
        match response {
            Response::Ok { result } => Ok(Ok(result.into_payload(body)?)),
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

    fn send(
        &self,
        event: &str,
        kind: EmitKind,
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
        self.clone().ask(request, data).map(|sent| sent.map(drop)).boxed()
    }
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
        };
        self.clone().ask(request, params).boxed()
    }

    fn emit(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.send(event, EmitKind::Emit, data, options)
    }

    fn broadcast(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.send(event, EmitKind::Broadcast, data, options)
    }

    fn broadcast_local(
        &self,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        self.send(event, EmitKind::BroadcastLocal, data, options)
    }

    fn ping(&self, nodes: Vec<Arc<str>>, timeout: Duration) -> BoxFuture<'static, Outcome> {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        let request = Request::Ping { nodes, timeout: millis(timeout) };
        self.clone().ask(request, Payload::Absent).boxed()
    }

    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        let request = Request::Wait { services, timeout: timeout.map(millis) };
        self.clone().ask(request, Payload::Absent).map(|waited| waited.map(drop)).boxed()
    }
}
