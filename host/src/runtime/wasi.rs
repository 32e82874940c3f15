//! WASI for guests: clocks and random numbers are there; environment variables, folders and sockets are what the
//! operator grants (see `reach`).
//!
//! What a guest prints becomes log lines, and the last of it is kept to explain a trap.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::error::MoleculerError;
use crate::runtime::environment::Environment;
use crate::runtime::log_sink::{Level, LogSink, Origin};
use crate::runtime::reach::sockets::Names;

/// Lines that are kept to explain a trap.
const KEPT_LINES: usize = 8;
/// Bytes of a line of the log that are kept for that.
const KEPT_LEN_MAX: usize = 500;
/// Bytes that a guest may write at once; wasmtime's own value.
const WRITE_PERMIT: usize = 64 << 10;

/// What one instance has printed.
#[derive(Clone, Debug)]
pub(super) struct Output(Arc<Mutex<Printed>>);

#[derive(Debug)]
struct Printed {
    sink: Arc<LogSink>,
    /// The unfinished line of stdout, then of stderr.
    partial: [Vec<u8>; 2],
    last: VecDeque<String>,
}

/// One of the two streams.
#[derive(Clone, Copy, Debug)]
enum Channel {
    Stdout,
    Stderr,
}

impl Output {
    fn new(sink: &Arc<LogSink>) -> Self {
        let printed =
            Printed { sink: Arc::clone(sink), partial: Default::default(), last: VecDeque::new() };
        Self(Arc::new(Mutex::new(printed)))
    }

    /// Ends unfinished lines. Called when a handler is over.
    pub(super) fn flush(&self) {
        let mut printed = self.0.lock();
        printed.end_line(Channel::Stdout);
        printed.end_line(Channel::Stderr);
    }

    /// What an earlier call has printed is none of the next one's.
    pub(super) fn forget(&self) {
        self.0.lock().last.clear();
    }

    /// Keeps a line of the log to explain a trap, whether its level is written or not.
    pub(super) fn keep(&self, line: &str) {
        let mut printed = self.0.lock();
        let line = line.get(..line.floor_char_boundary(KEPT_LEN_MAX)).unwrap_or(line);
        printed.keep(line.to_owned());
    }

    /// The last lines, oldest first.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.0.lock().last.iter().cloned().collect()
    }
}

impl Printed {
    fn write(&mut self, channel: Channel, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        if let Some(first) = lines.next() {
            self.append(channel, first);
        }
        for line in lines {
            self.end_line(channel);
            self.append(channel, line);
        }
    }

    /// Adds to the unfinished line; what is too long for a line is lost.
    fn append(&mut self, channel: Channel, bytes: &[u8]) {
        let len_max = self.sink.line_len_max();
        let partial = self.partial_mut(channel);
        let room = len_max.saturating_sub(partial.len()).min(bytes.len());
        partial.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn end_line(&mut self, channel: Channel) {
        let partial = std::mem::take(self.partial_mut(channel));
        if partial.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&partial).trim_end().to_owned();
        let level = match channel {
            Channel::Stdout => Level::Info,
            Channel::Stderr => Level::Warn,
        };
        self.sink.write(level, Origin::default(), &text, "");
        self.keep(text);
    }

    fn keep(&mut self, line: String) {
        if self.last.len() == KEPT_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn partial_mut(&mut self, channel: Channel) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.partial;
        match channel {
            Channel::Stdout => stdout,
            Channel::Stderr => stderr,
        }
    }
}

/// Makes the WASI context of one instance, which remembers in `names` what it is told of names.
///
/// # Errors
/// A grant that is not possible.
pub(super) fn context(
    environment: &Arc<Environment>,
    names: &Names,
) -> Result<(WasiCtx, Output), MoleculerError> {
    let output = Output::new(&environment.log);
    let mut builder = WasiCtxBuilder::new();
    builder
        .envs(&environment.env)
        .stdout(Stream { output: output.clone(), channel: Channel::Stdout })
        .stderr(Stream { output: output.clone(), channel: Channel::Stderr })
        // Without these a socket could still be made, though not connected.
        .allow_tcp(environment.reach.any_tcp())
        .allow_ip_name_lookup(environment.reach.any_tcp())
        .allow_udp(false);
    if environment.reach.any_tcp() {
        let (environment, names) = (Arc::clone(environment), names.clone());
        builder.socket_addr_check(move |address, usage| {
            Box::pin(std::future::ready(environment.reach.may_use(&names, address, usage)))
        });
    }
    let opened = environment.reach.files.open(&mut builder);
    opened.map_err(|why| {
        let text = format!("Service '{}' cannot run: {why}.", environment.service);
        MoleculerError::server("GRANT_NOT_POSSIBLE", text)
    })?;
    Ok((builder.build(), output))
}

/// One stream of one instance.
#[derive(Clone, Debug)]
struct Stream {
    output: Output,
    channel: Channel,
}

impl Stream {
    fn print(&self, bytes: &[u8]) {
        self.output.0.lock().write(self.channel, bytes);
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::metrics::Metric;

    #[test]
    fn output_is_split_into_lines_and_long_ones_are_cut() {
        let limits = Limits { log_line: 4, ..Limits::default() };
        let output = Output::new(&Arc::new(LogSink::new("s".into(), &limits, Metric::default())));
        let stream = Stream { output: output.clone(), channel: Channel::Stdout };
        stream.print(b"ab");
        stream.print(b"cd\nabcde\n\nx");
        output.flush();
        assert_eq!(output.last_lines(), ["abcd", "abcd", "x"]);
    }
}
