//! Streams of the command line: a file or standard input as the stream of a call, and a result that is a
//! stream to a file or to standard output.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::admin::protocol::{BODY_LEN_MAX, Mode};
use crate::admin::stream::BUFFER;
use crate::cli::Failure;
use crate::cli::call::show_error;
use crate::clock;
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::payload::stream::{Stream, StreamReader, StreamWriter};
use crate::task;
use crate::uid;

/// Read from a file at once.
const READ_LEN: usize = 64 << 10;

/// Between two lines of progress.
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// A file that is being read into a stream.
#[derive(Debug)]
pub(super) struct Source {
    /// What goes with the call.
    pub(super) stream: Stream,
    reading: JoinHandle<()>,
}

impl Source {
    /// Opens a file, or with `-` standard input: bytes, or one JSON value in each line.
    ///
    /// # Errors
    /// [`Failure::Use`] when it cannot be opened.
    pub(super) fn open(path: &str, mode: Mode) -> Result<Self, Failure> {
        let (file, name) = match path {
            "-" => {
                (std::io::stdin().as_fd().try_clone_to_owned().map(Into::into), "standard input")
            }
            path => (std::fs::File::open(path), path),
        };
        let file: std::fs::File = file
            .map_err(|error| Failure::Use(format!("--stream: {name} cannot be read: {error}")))?;
        let (writer, stream) = mode.channel(BUFFER);
        let (file, name) = (File::from_std(file), name.to_owned());
        let reading = task::spawn_on(&Handle::current(), "stream source", async move {
            let read = match mode {
                Mode::Bytes => read_bytes(file, &writer).await,
                Mode::Objects => read_lines(file, &writer).await,
            };
            let end = read.map_err(|problem| {
                MoleculerError::client(400, "STREAM_SOURCE", format!("{name} {problem}"))
            });
            writer.finish(end);
            // Until the other end has taken everything.
            writer.closed().await;
        });
        Ok(Self { stream, reading })
    }

    /// Waits until everything is sent: a callee may read on after it has answered.
    pub(super) async fn sent(self) {
        let Self { stream, reading } = self;
        // Nobody may have taken it.
        drop(stream);
        // A reading that panicked is over as well.
        let _ = reading.await;
    }
}

async fn read_bytes(mut file: File, writer: &StreamWriter) -> Result<(), String> {
    loop {
        let mut chunk = BytesMut::with_capacity(READ_LEN);
        let read = file.read_buf(&mut chunk).await;
        if read.map_err(|error| format!("cannot be read: {error}"))? == 0 {
            return Ok(());
        }
        if writer.write(Payload::Bytes(chunk.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

async fn read_lines(file: File, writer: &StreamWriter) -> Result<(), String> {
    let mut file = BufReader::new(file);
    for number in 1_u64.. {
        let mut line = Vec::new();
        let mut limited = (&mut file).take(BODY_LEN_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut line).await;
        if read.map_err(|error| format!("cannot be read: {error}"))? == 0 {
            return Ok(());
        }
        if line.len() > BODY_LEN_MAX {
            return Err(format!("has a line {number} of more than {BODY_LEN_MAX} bytes"));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let wrong =
            |error: &dyn std::fmt::Display| format!("has no JSON in line {number}: {error}");
        let text = std::str::from_utf8(text).map_err(|error| wrong(&error))?;
        let value =
            Payload::from_json_text(ByteString::from(text)).map_err(|error| wrong(&error))?;
        if writer.write(value).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes a result that is a stream to standard output as it comes: bytes as they are, values in lines.
///
/// # Errors
/// [`Failure::Failed`] with the error of the stream, or of the output.
pub(super) async fn print(mut stream: StreamReader) -> Result<(), Failure> {
    while let Some(chunk) = next(&mut stream).await? {
        let mut out = std::io::stdout().lock();
        match chunk {
            Payload::Bytes(bytes) if !stream.object_mode() => out.write_all(&bytes)?,
            value => writeln!(out, "{}", value.to_json_text())?,
        }
        out.flush()?;
    }
    Ok(())
}

async fn next(stream: &mut StreamReader) -> Result<Option<Payload>, Failure> {
    let failed = |error| Failure::Failed(format!("the stream broke off: {}", show_error(&error)));
    stream.next().await.map_err(failed)
}

/// A file in the making: whole, or not there.
#[derive(Debug)]
pub(super) struct Saving {
    path: PathBuf,
    /// What is written, beside it; taken away when it does not become the file.
    partial: Option<PathBuf>,
    force: bool,
}

impl Saving {
    /// Looks whether a file may be written, before anything is called.
    ///
    /// # Errors
    /// [`Failure::Use`] when it exists and is not to be overwritten.
    pub(super) fn prepare(path: &Path, force: bool) -> Result<Self, Failure> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(Failure::Use(format!(
                "{} exists; overwrite it with --force",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), partial: None, force })
    }

    /// Writes a result into the file.
    ///
    /// # Errors
    /// [`Failure::Failed`]; then there is no file, or the one that was there before.
    pub(super) async fn save(mut self, result: Payload) -> Result<(), Failure> {
        let name: String = uid::new().chars().take(8).collect();
        let mut partial = self.path.clone().into_os_string();
        partial.push(format!(".{name}.part"));
        let partial = PathBuf::from(partial);
        let failed = |path: &Path, error| {
            Failure::Failed(format!("{} cannot be written: {error}", path.display()))
        };
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&partial);
        let file = file.map_err(|error| failed(&self.path, error))?;
        self.partial = Some(partial.clone());
        let mut file = File::from_std(file);
        tokio::select! {
            written = write(&mut file, result) => written?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::Failed("interrupted".to_owned())),
        }
        file.sync_all().await.map_err(|error| failed(&self.path, error))?;
        self.put_in_place(&partial).map_err(|error| failed(&self.path, error))?;
        self.partial = None;
        Ok(())
    }

    fn put_in_place(&self, partial: &Path) -> std::io::Result<()> {
        if self.force {
            return std::fs::rename(partial, &self.path);
        }
        // Another may have made the file meanwhile, which a renaming would overwrite.
        std::fs::hard_link(partial, &self.path)?;
        std::fs::remove_file(partial)
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            // What cannot be removed is seen by its name.
            let _ = std::fs::remove_file(partial);
        }
    }
}

async fn write(file: &mut File, result: Payload) -> Result<(), Failure> {
    let failed = |error| Failure::Failed(format!("the file cannot be written: {error}"));
    match result {
        Payload::Absent => return Err(Failure::Failed("the action answered nothing".to_owned())),
        Payload::Json(text) => file.write_all(text.as_bytes()).await.map_err(failed)?,
        Payload::Bytes(bytes) => file.write_all(&bytes).await.map_err(failed)?,
        Payload::Stream(stream) => {
            let mut stream = take(&stream)?;
            let mut progress = Progress::new();
            while let Some(chunk) = next(&mut stream).await? {
                match chunk {
                    Payload::Bytes(bytes) if !stream.object_mode() => {
                        file.write_all(&bytes).await.map_err(failed)?;
                        progress.add(bytes.len());
                    }
                    value => {
                        let line = format!("{}\n", value.to_json_text());
                        file.write_all(line.as_bytes()).await.map_err(failed)?;
                        progress.add(line.len());
                    }
                }
            }
        }
    }
    file.flush().await.map_err(failed)
}

/// The reading end of a result.
///
/// # Errors
/// [`Failure::Failed`] when somebody else has it.
pub(super) fn take(stream: &Stream) -> Result<StreamReader, Failure> {
    stream.take().ok_or_else(|| Failure::Failed("the result was read already".to_owned()))
}

/// How much has come, on a terminal.
struct Progress {
    shown: bool,
    len: usize,
    last: Option<clock::Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), len: 0, last: None }
    }

    fn add(&mut self, len: usize) {
        self.len += len;
        let now = clock::now();
        if !self.shown || self.last.is_some_and(|last| now - last < PROGRESS_PERIOD) {
            return;
        }
        self.last = Some(now);
        // A terminal that is gone needs no progress.
        let _ = write!(std::io::stderr(), "\r{:.1} MB", self.megabytes());
    }

    fn megabytes(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let len = self.len as f64;
        len / 1e6
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = writeln!(std::io::stderr(), "\r{:.1} MB", self.megabytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::stream::channel;

    #[tokio::test]
    async fn a_file_is_saved_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let (writer, stream) = channel(false, 1 << 20);
        writer.write(Payload::Bytes("half".into())).await.unwrap();
        drop(writer);
        let saving = Saving::prepare(&path, false).unwrap();
        let failure = saving.save(Payload::Stream(stream)).await.unwrap_err();
        assert!(failure.text().contains("STREAM_ABORTED"), "{}", failure.text());
        assert_eq!(names(), 0);

        let whole = || Payload::Bytes("whole".into());
        Saving::prepare(&path, false).unwrap().save(whole()).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(Saving::prepare(&path, false).unwrap_err().code(), 2);
        let (writer, stream) = channel(true, 1 << 20);
        writer.write(Payload::Json("{\"n\":1}".into())).await.unwrap();
        writer.write(Payload::Json("2".into())).await.unwrap();
        writer.end();
        Saving::prepare(&path, true).unwrap().save(Payload::Stream(stream)).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"n\":1}\n2\n");
        assert_eq!(names(), 1);
    }

    #[tokio::test]
    async fn lines_become_values_and_a_bad_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        std::fs::write(&path, "{\"n\":1}\n\n [2] \n{oops}\n").unwrap();
        let source = Source::open(path.to_str().unwrap(), Mode::Objects).unwrap();
        let mut reader = source.stream.take().unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(Payload::Json("{\"n\":1}".into())));
        assert_eq!(reader.next().await.unwrap(), Some(Payload::Json("[2]".into())));
        let error = reader.next().await.unwrap_err();
        assert!(error.message().contains("no JSON in line 4"), "{error}");
        drop(reader);
        source.sent().await;
        assert_eq!(Source::open("/nowhere", Mode::Bytes).unwrap_err().code(), 2);
    }
}
