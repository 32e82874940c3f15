//! The limits of a service: everything that a guest can make grow, with its default.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::grants::Grants;

/// How instances are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Instances are kept warm; each runs one call at a time.
    #[default]
    Pooled,
    /// A new instance for every call.
    Fresh,
    /// One instance for all calls, many at once; for components of the world `service-async`.
    Shared,
}

/// Limits of one service; those marked † may be narrowed per action by the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// † Units of work per call (about one per Wasm instruction). 2 000 000 000
    pub fuel: u64,
    /// † Wall-clock time of one call in the guest, independent of the caller's timeout. 30 s
    pub timeout: Duration,
    /// † Bytes, summed over all linear memories of an instance. 128 MiB
    pub memory: usize,
    /// Elements, summed over all tables of an instance. 100 000
    pub table_elements: usize,
    /// Linear memories, tables and core instances of an instance, each. 100
    pub objects: usize,
    /// Handles (contexts, pending calls, WASI resources) that an instance holds at once. 1 000
    pub handles: usize,
    /// Calls that one handler has in flight at once. 128
    pub calls_in_flight: usize,
    /// Events that one handler sends. 10 000
    pub events: usize,
    /// Streams that one handler has open at once. 32
    pub streams: usize,
    /// Spans that one handler makes. 200
    pub spans: usize,
    /// Spans of one handler that have not ended, at once. 32
    pub open_spans: usize,
    /// Bytes of tags and logs of one span of a guest. 16 KiB
    pub span_bytes: usize,
    /// Bytes that wait in one stream of a guest to be read. 256 KiB
    pub stream_buffer: usize,
    /// How long a guest waits for one chunk to come or to go. 60 s
    pub stream_idle: Duration,
    /// Wall-clock time of a handler that gets a stream or answers with one, in the place of `timeout`. 10 min
    pub stream_timeout: Duration,
    /// HTTP requests of one instance at once. 32
    pub http_requests: usize,
    /// Bytes of the body of an HTTP request, and of that of its answer. 8 MiB
    pub http_body: usize,
    /// † Bytes of params, result or event data, either way. 8 MiB
    pub payload: usize,
    /// Bytes of meta and of headers, each. 64 KiB
    pub meta: usize,
    /// Native stack of the guest, bytes. 512 KiB
    pub stack: usize,
    /// Pool of instances.
    pub instances: Instances,
    /// Calls that wait for an instance. 1 000
    pub queue: usize,
    /// How instances are used, when the operator says it; else as the component asks, or pooled.
    pub mode: Option<Mode>,
    /// Log lines per second, logger and stdout/stderr together. 200
    pub log_rate: u32,
    /// Bytes of one log line; longer ones are cut. 8 KiB
    pub log_line: usize,
    /// Bytes of the schema that `describe` returns. 1 MiB
    pub schema: usize,
    /// Actions and events of the schema, each. 1 000
    pub schema_items: usize,
}

/// Section `instances`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// Kept warm even when idle. 1
    pub min: usize,
    /// At most this many, so also at most this many calls at once. 32
    pub max: usize,
    /// A surplus instance is retired after being idle this long. 60 s
    pub idle: Duration,
    /// An instance is retired after this many calls; 0 is never. 0
    pub reuse: u64,
    /// Calls at once in the one instance of the mode `shared`. 100
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 2_000_000_000,
            timeout: Duration::from_secs(30),
            memory: 128 << 20,
            table_elements: 100_000,
            objects: 100,
            handles: 1_000,
            calls_in_flight: 128,
            events: 10_000,
            streams: 32,
            spans: 200,
            open_spans: 32,
            span_bytes: 16 << 10,
            stream_buffer: 256 << 10,
            stream_idle: Duration::from_secs(60),
            stream_timeout: Duration::from_secs(600),
            http_requests: 32,
            http_body: 8 << 20,
            payload: 8 << 20,
            meta: 64 << 10,
            stack: 512 << 10,
            instances: Instances {
                min: 1,
                max: 32,
                idle: Duration::from_secs(60),
                reuse: 0,
                concurrency: 100,
            },
            queue: 1_000,
            mode: None,
            log_rate: 200,
            log_line: 8 << 10,
            schema: 1 << 20,
            schema_items: 1_000,
        }
    }
}

/// What compiling one component may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the compiler in bytes. 4 GiB; a 22 MB Python component needs about 1.5 GiB
    pub memory: u64,
    /// Time. 300 s: the largest known component (Python, 22 MB) takes 13 s on two idle cores, and several times
    /// that beside other work, since compiling comes last
    pub timeout: Duration,
    /// Bytes of the file; a larger one is not read. 64 MiB, three times the largest known component
    pub file_size: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory: 4 << 30, timeout: Duration::from_secs(300), file_size: 64 << 20 }
    }
}

/// What a node may use: section `memory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// Bytes in use beyond which guests get no more. `None`: nine tenths of what the control group of the process may
    /// use, or of what the machine has
    pub max: Option<u64>,
}

/// What is kept of guests that have trapped: section `coreDumps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreDumps {
    /// Where core dumps go. `None`: nothing is kept
    pub dir: Option<PathBuf>,
    /// Most files; the oldest makes room. 10
    pub files: usize,
    /// Most bytes of the memories of a guest that is kept, together. 256 MiB
    pub size: u64,
}

impl Default for CoreDumps {
    fn default() -> Self {
        Self { dir: None, files: 10, size: 256 << 20 }
    }
}

/// Limits that a schema may narrow, for the whole service or for one action. `None` leaves the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionLimits {
    /// Units of fuel per call.
    pub fuel: Option<u64>,
    /// Wall-clock time of one call.
    pub timeout: Option<Duration>,
    /// Bytes of memory.
    pub memory: Option<usize>,
    /// Bytes of params, result or data.
    pub payload: Option<usize>,
}

impl Limits {
    /// These limits with narrower ones applied; a wider wish changes nothing.
    #[must_use]
    pub fn narrowed(&self, by: &ActionLimits) -> Self {
        let mut limits = self.clone();
        limits.fuel = by.fuel.map_or(self.fuel, |fuel| fuel.min(self.fuel));
        limits.timeout = by.timeout.map_or(self.timeout, |timeout| timeout.min(self.timeout));
        limits.memory = by.memory.map_or(self.memory, |memory| memory.min(self.memory));
        limits.payload = by.payload.map_or(self.payload, |payload| payload.min(self.payload));
        limits
    }
}
