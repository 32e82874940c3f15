//! What the SDK needs from whatever runs the service: the host of a component, or a mock in a unit test.
//!
//! One method per function of the WIT, in Rust's types. The two implementations are `component` and
//! [`crate::testing`]; nothing above this trait knows which one it talks to.

use std::pin::Pin;

use crate::logger::Level;
use crate::{Error, Payload, Result};

/// How an event was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// Balanced: one instance of every group gets it.
    Emit,
    /// Every instance on every node gets it.
    Broadcast,
    /// Every instance on this node gets it.
    BroadcastLocal,
}

impl EventType {
    /// Moleculer's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Broadcast => "broadcast",
            Self::BroadcastLocal => "broadcastLocal",
        }
    }
}

/// The context of one running handler, and the node around it.
pub(crate) trait Host {
    fn id(&self) -> String;
    fn request_id(&self) -> String;
    fn parent_id(&self) -> Option<String>;
    fn caller(&self) -> Option<String>;
    fn level(&self) -> u32;
    fn node_id(&self) -> String;
    fn name(&self) -> String;
    fn event_type(&self) -> Option<EventType>;
    fn event_groups(&self) -> Vec<String>;
    fn meta(&self) -> String;
    fn set_meta(&self, object: &str) -> Result<()>;
    fn headers(&self) -> String;
    fn set_response_headers(&self, object: &str) -> Result<()>;
    fn remaining_time(&self) -> Option<u32>;
    fn cause(&self) -> Option<Error>;

    fn call(&self, action: &str, params: Payload, options: Option<&str>) -> Result<Payload>;
    fn start_call(&self, action: &str, params: Payload, options: Option<&str>) -> Pending;
    /// Index of the first of these calls that is done, after waiting for it.
    fn wait_any(&self, calls: &[&Pending]) -> Option<usize>;
    /// The stream of the caller, once.
    fn stream(&self) -> Option<Box<dyn Source>>;
    fn respond_stream(&self, object_mode: bool) -> Result<Box<dyn Sink>>;
    fn start_stream_call(
        &self,
        action: &str,
        params: Payload,
        options: Option<&str>,
        object_mode: bool,
    ) -> (Box<dyn Sink>, Pending);
    fn mcall(&self, calls: &str, options: Option<&str>) -> Result<Payload>;
    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: Option<&str>,
    ) -> Result<()>;
    fn wait_for_services(&self, services: &[String], timeout: Option<u32>) -> Result<()>;

    /// Begins what can go on beside other calls of the instance; `None` where the host can only wait.
    fn begin(&self, work: &Beside<'_>) -> Option<Pending> {
        let _ = work;
        None
    }

    fn cacher_enabled(&self) -> bool;
    fn cacher_get(&self, key: &str) -> Result<Option<Payload>>;
    fn cacher_get_with_ttl(&self, key: &str) -> Result<Option<(Payload, Option<f64>)>>;
    fn cacher_set(&self, key: &str, value: Payload, ttl: Option<f64>) -> Result<()>;
    fn cacher_del(&self, keys: &[String]) -> Result<()>;
    fn cacher_clean(&self, patterns: &[String]) -> Result<()>;

    /// Begins a span; options under Moleculer's names.
    fn start_span(&self, name: &str, options: Option<&str>) -> Box<dyn Recording>;

    fn log(&self, level: Level, message: &str, fields: Option<&str>);
    fn log_enabled(&self, level: Level) -> bool;
    fn settings(&self) -> String;
    fn local_node_id(&self) -> String;
    fn namespace(&self) -> String;
    fn service(&self) -> String;
}

/// What may take time and is no single call.
#[cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "only in components something goes on beside a handler")
)]
pub(crate) enum Beside<'a> {
    /// Several calls, with their options.
    Calls(&'a str, Option<&'a str>),
    /// An event.
    Event { kind: EventType, event: &'a str, data: &'a Payload, options: Option<&'a str> },
    /// Services that are not there yet, and how long to wait for them.
    Services(&'a [String], Option<u32>),
    /// So many milliseconds.
    Time(u32),
}

/// What the host has promised; awaited, it holds up nobody else.
pub(crate) type Promise<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

/// A stream that is read.
pub(crate) trait Source {
    fn object_mode(&self) -> bool;
    /// The next chunk, after waiting for it.
    fn read(&self) -> Result<Option<Payload>>;
    /// Begins to read the next chunk; `None` where the host can only wait.
    fn start_read(&self) -> Option<Promise<Option<Payload>>> {
        None
    }
    /// Waits for a chunk that [`Source::start_read`] has begun to read.
    fn finish_read(&self, _reading: &mut Promise<Option<Payload>>) -> Result<Option<Payload>> {
        self.read()
    }
}

/// A stream that is written. Dropped without an end, it fails.
pub(crate) trait Sink {
    fn object_mode(&self) -> bool;
    /// Adds a chunk, after waiting for room.
    fn write(&self, chunk: Payload) -> Result<()>;
    /// Begins to add a chunk; gives it back where the host can only wait.
    fn start_write(&self, chunk: Payload) -> Result<Promise<()>, Payload> {
        Err(chunk)
    }
    fn end(&self) -> Result<()>;
    fn fail(&self, error: Error);
}

/// Work of the host that goes on beside the handler.
#[cfg(target_family = "wasm")]
pub(crate) trait Errand {
    /// Whether the result is there; else the task is woken by it.
    fn is_done(&self, task: &mut std::task::Context<'_>) -> bool;
    /// The result, once, when it is there; else the task is woken by it.
    fn poll(&self, task: &mut std::task::Context<'_>) -> Option<Result<Payload>>;
    /// The stream that the call was answered with, once.
    fn take_stream(&self) -> Result<Option<Box<dyn Source>>>;
}

/// A span that has begun.
pub(crate) trait Recording {
    fn add_tags(&self, object: &str);
    fn log(&self, name: &str, fields: Option<&str>);
    fn set_error(&self, error: Error);
    fn start_span(&self, name: &str) -> Box<dyn Recording>;
    /// Ends it; only the first time counts.
    fn finish(&self);
}

/// A call in flight.
pub(crate) enum Pending {
    /// The host's handle; dropping it abandons the call.
    #[cfg(target_family = "wasm")]
    Host(crate::component::PendingCall),
    /// A task of the host, in a component whose handlers are tasks themselves. It is a trait object, so that
    /// what it imports is left out of the components that make none.
    #[cfg(target_family = "wasm")]
    Task(Box<dyn Errand>),
    /// The mock's answer, until it is taken.
    #[cfg(not(target_family = "wasm"))]
    Mock(crate::testing::MockAnswer),
}

impl Pending {
    /// The result, once, when the call is done.
    pub(crate) fn take(&self) -> Option<Result<Payload>> {
        match self {
            #[cfg(target_family = "wasm")]
            Self::Host(call) => crate::component::take(call),
            #[cfg(target_family = "wasm")]
            Self::Task(task) => {
                task.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
            }
            #[cfg(not(target_family = "wasm"))]
            Self::Mock(answer) => answer.take(),
        }
    }

    /// Takes the result as [`Pending::take`] does, and wakes the task when it comes later. Only a task of the
    /// host does that.
    pub(crate) fn poll(&self, task: &mut std::task::Context<'_>) -> Option<Result<Payload>> {
        let _ = &task;
        match self {
            #[cfg(target_family = "wasm")]
            Self::Task(pending) => pending.poll(task),
            _ => self.take(),
        }
    }

    /// Waits until the call is done; only a task of the host does so beside others.
    pub(crate) async fn done(&self, host: &dyn Host) {
        match self {
            #[cfg(target_family = "wasm")]
            Self::Task(task) => {
                let is_done = |wake: &mut std::task::Context<'_>| match task.is_done(wake) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                };
                std::future::poll_fn(is_done).await;
            }
            _ => drop(host.wait_any(&[self])),
        }
    }

    /// The stream that the call was answered with, once.
    pub(crate) fn take_stream(&self) -> Result<Option<Box<dyn Source>>> {
        match self {
            #[cfg(target_family = "wasm")]
            Self::Host(call) => crate::component::take_stream(call),
            #[cfg(target_family = "wasm")]
            Self::Task(task) => task.take_stream(),
            #[cfg(not(target_family = "wasm"))]
            Self::Mock(answer) => Ok(answer.take_stream()),
        }
    }
}
