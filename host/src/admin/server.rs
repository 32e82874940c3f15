//! The node's side of the control socket.
//!
//! Accepting never ends by an error, only by [`Server::stop`]. One task per connection, at most
//! [`protocol::CONNECTIONS_MAX`] of them; a request is a future inside it, so a client that goes away
//! drops its call. Requests are the node user's own: a peer of another user is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, value::RawValue};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admin::place::{Claim, Error};
use crate::admin::protocol::{self, Body, Mode, Request, Response, Versions};
use crate::admin::stream::{self, Received};
use crate::context::{CallOptions, Caller, EmitOptions, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::payload::stream::{Stream, StreamWriter};
use crate::task::{self, CancellationToken};

/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers what is asked about the versions of services.
pub type VersionKeeper = Arc<dyn Fn(Versions) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// What connections share.
struct Shared {
    caller: Arc<dyn Caller>,
    node_id: Arc<str>,
    info: Value,
    versions: Option<VersionKeeper>,
    slots: Arc<Semaphore>,
    /// No more requests are taken.
    intake: CancellationToken,
    /// Everything ends.
    cancel: CancellationToken,
}

/// A control socket that is listened to.
pub struct Server {
    shared: Arc<Shared>,
    claim: Claim,
}

impl Server {
    /// Listens at a claimed place. `info` is what the node answers when asked who it is; `versions` answers
    /// questions about versions.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(
        claim: Claim,
        caller: Arc<dyn Caller>,
        node_id: Arc<str>,
        info: Value,
        versions: Option<VersionKeeper>,
    ) -> Result<Self, Error> {
        let io_error = |source| Error::Io { path: claim.path.clone(), source };
        let listener = UnixListener::bind(&claim.path).map_err(io_error)?;
        // Between the two lines others might connect; they are refused by who they are.
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&claim.path, owner_only).map_err(io_error)?;
        let cancel = CancellationToken::new();
        let shared = Arc::new(Shared {
            caller,
            node_id,
            info,
            versions,
            slots: Arc::new(Semaphore::new(protocol::CONNECTIONS_MAX)),
            intake: cancel.child_token(),
            cancel,
        });
        task::spawn("admin accept", &shared.intake, accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, claim })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.claim.path
    }

    /// Takes no more requests, lets the running ones finish within `grace`, ends the others and removes
    /// the socket.
    pub async fn stop(self, grace: Duration) {
        self.shared.intake.cancel();
        remove(&self.claim.path);
        let all = u32::try_from(protocol::CONNECTIONS_MAX).unwrap_or(u32::MAX);
        let finished = self.shared.slots.acquire_many(all);
        // Whether they finished or not, nothing is left to do for them.
        let _ = tokio::time::timeout(grace, finished).await;
        self.shared.cancel.cancel();
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "the control socket is gone already");
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &shared),
            Err(error) => {
                tracing::warn!(%error, "a client of the control socket was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    let user = stream.peer_cred().map(|peer| peer.uid()).ok();
    let own = rustix::process::getuid().as_raw();
    // Root may do everything on the machine anyway.
    if user.is_none_or(|user| user != own && user != 0) {
        tracing::warn!(?user, "a client of another user was refused");
        return refuse(&stream, "this node belongs to another user");
    }
    match Arc::clone(&shared.slots).try_acquire_owned() {
        Ok(slot) => {
            let work = serve(stream, slot, Arc::clone(shared));
            drop(task::spawn("admin connection", &shared.cancel, work));
        }
        Err(_) => refuse(&stream, "too many clients are connected"),
    }
}

/// Says why, if that can be said at once, and closes.
fn refuse(stream: &UnixStream, reason: &str) {
    let response = Response::Refused { reason: reason.to_owned() };
    if let Ok(frame) = protocol::encode_head(&response, 0) {
        // A new connection has an empty buffer; if the frame does not fit, closing has to say enough.
        let _ = stream.try_write(&frame);
    }
}

/// One connection, until it is closed, breaks a rule or the node stops.
async fn serve(stream: UnixStream, slot: OwnedSemaphorePermit, shared: Arc<Shared>) {
    let (mut reader, mut writer) = stream.into_split();
    loop {
        let next = tokio::time::timeout(
            protocol::IDLE_TIME_MAX,
            protocol::read::<Request, _>(&mut reader),
        );
        let frame = tokio::select! {
            frame = next => frame,
            () = shared.intake.cancelled() => break,
        };
        let (mut request, body) = match frame {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client of the control socket broke the rules");
                say_refused(&mut writer, &error.to_string()).await;
                break;
            }
        };
        let (upload, stream) = upload_of(&mut request);
        let streams = stream.is_some();
        let over = upload.as_ref().map(|upload| upload.over.clone());
        let mut feeding = pin!(feed(&mut reader, upload));
        let answered = tokio::select! {
            answered = answer(&shared, request, body, stream, &mut writer) => answered,
            () = &mut feeding => break,
        };
        let Ok(After::Next) = answered else { break };
        if let Some(over) = over {
            // The handler may read on after it has answered.
            tokio::select! {
                () = over.cancelled() => {}
                () = feeding => {}
            }
        }
        if streams || shared.intake.is_cancelled() {
            break;
        }
    }
    drop(slot);
}

/// What becomes of a connection after an answer.
enum After {
    /// The next request.
    Next,
    /// Nothing.
    End,
}

/// A stream that comes with a request.
struct Upload {
    writer: StreamWriter,
    /// Cancelled when all of it has come, or nobody reads it any more.
    over: CancellationToken,
}

/// The stream that follows a request, and what the callee gets of it.
fn upload_of(request: &mut Request) -> (Option<Upload>, Option<Stream>) {
    let Request::Call { stream: Some(mode), .. } = request else { return (None, None) };
    let (writer, stream) = mode.channel(stream::BUFFER);
    (Some(Upload { writer, over: CancellationToken::new() }), Some(stream))
}

/// Gives the chunks of a stream on, if there is one, and ends when the client has gone.
async fn feed(reader: &mut OwnedReadHalf, upload: Option<Upload>) {
    if let Some(Upload { writer, over }) = upload {
        let received = stream::receive(reader, writer).await;
        over.cancel();
        match received {
            Received::All => {}
            Received::Gone => return,
            Received::Unread => {
                // The rest is read, so that the client can finish and see the answer.
                let _ = tokio::io::copy(reader, &mut tokio::io::sink()).await;
                return;
            }
        }
    }
    gone(reader).await;
}

/// Ends when the client has closed, or says something while it should wait.
async fn gone(reader: &mut OwnedReadHalf) {
    let mut byte = [0_u8; 1];
    let _ = reader.read(&mut byte).await;
}

async fn say_refused(writer: &mut OwnedWriteHalf, reason: &str) {
    let response = Response::Refused { reason: reason.to_owned() };
    // The connection ends either way.
    let _ = protocol::write(writer, &response, &[]).await;
}

async fn answer(
    shared: &Shared,
    request: Request,
    body: Bytes,
    stream: Option<Stream>,
    writer: &mut OwnedWriteHalf,
) -> Result<After, protocol::Error> {
    let outcome = match run(shared, request, body, stream).await {
        Ok(Ok(Payload::Stream(result))) => return answer_with(shared, &result, writer).await,
        Ok(outcome) => outcome,
        Err(malformed) => {
            say_refused(writer, &malformed.to_string()).await;
            return Err(malformed);
        }
    };
    let (response, body) = response_of(shared, outcome)?;
    match protocol::write(writer, &response, &body).await {
        Err(protocol::Error::TooLong { len, max }) => {
            let error = MoleculerError::payload_too_large("result", max, len);
            let (response, _) = response_of(shared, Err(error))?;
            protocol::write(writer, &response, &[]).await?;
        }
        written => written?,
    }
    Ok(After::Next)
}

/// Answers with a stream.
async fn answer_with(
    shared: &Shared,
    result: &Stream,
    writer: &mut OwnedWriteHalf,
) -> Result<After, protocol::Error> {
    let Some(mut reader) = result.take() else {
        let error = MoleculerError::server("STREAM_TAKEN", "The stream is read already.");
        let (response, body) = response_of(shared, Err(error))?;
        protocol::write(writer, &response, &body).await?;
        return Ok(After::Next);
    };
    protocol::write(writer, &Response::Stream { mode: Mode::of(result) }, &[]).await?;
    stream::send(writer, &mut reader).await?;
    Ok(After::End)
}

fn response_of(shared: &Shared, outcome: Outcome) -> Result<(Response, Bytes), protocol::Error> {
    match outcome {
        Ok(payload) => {
            let (result, body) = Body::of(&payload);
            Ok((Response::Ok { result }, body))
        }
        Err(error) => {
            let error = RawValue::from_string(error.to_wire(&shared.node_id).to_string())
                .map_err(|error| protocol::Error::Malformed(error.to_string()))?;
            Ok((Response::Failed { error }, Bytes::new()))
        }
    }
}

/// Does what was asked.
async fn run(
    shared: &Shared,
    request: Request,
    body: Bytes,
    stream: Option<Stream>,
) -> Result<Outcome, protocol::Error> {
    let caller = &shared.caller;
    Ok(match request {
        Request::Call {
            action,
            node_id,
            timeout,
            retries,
            meta,
            headers,
            request_id,
            params,
            ..
        } => {
            let params = params.into_payload(body)?;
            let options = CallOptions {
                timeout: timeout.map(Duration::from_millis),
                retries,
                node_id: node_id.map(Arc::from),
                meta,
                headers,
                request_id: request_id.map(Arc::from),
                stream,
                ..CallOptions::default()
            };
            caller.call(&action, params, options).await
        }
        Request::Emit { event, kind, groups, meta, headers, data } => {
            let data = data.into_payload(body)?;
            let groups = groups.into_iter().map(Arc::from).collect();
            let throw_error = true;
            let options =
                EmitOptions { groups, meta, headers, throw_error, ..EmitOptions::default() };
            caller.send(kind, &event, data, options).await.map(|()| Payload::Absent)
        }
        Request::Wait { services, timeout } => {
            let waited = caller.wait_for_services(services, timeout.map(Duration::from_millis));
            waited.await.map(|()| Payload::Absent)
        }
        Request::Ping { nodes, timeout } => {
            let nodes = nodes.into_iter().map(Arc::from).collect();
            caller.ping(nodes, Duration::from_millis(timeout)).await
        }
        Request::Versions(question) => match &shared.versions {
            Some(versions) => versions(question).await,
            None => {
                let text = "This node has no components, so it keeps no versions.";
                Err(MoleculerError::client(404, "SERVICE_NOT_FOUND", text))
            }
        },
        Request::Info => Ok(Payload::Json(shared.info.to_string().into())),
    })
}

#[cfg(test)]
mod tests;
