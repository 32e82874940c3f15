//! Streams in all directions: an upload, a download, both at once, and bytes that become objects.

use isomer_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of one chunk of a download.
const CHUNK_LEN: usize = 64 << 10;
/// Longest line that `lines` takes.
const LINE_LEN_MAX: usize = 1 << 20;

#[derive(Default)]
struct Files;

#[derive(Serialize)]
struct Checksum {
    bytes: usize,
    sha256: String,
}

#[derive(Deserialize)]
struct Generate {
    bytes: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    line: usize,
    text: &'a str,
}

#[service(name = "files")]
impl Files {
    /// The size and the SHA-256 of what the caller sends.
    #[action(rest = {
        method: "POST", path: "/checksum", type: "multipart",
        busboyConfig: { limits: { files: 1 } },
    })]
    async fn checksum(&self, ctx: &Context) -> Result<Checksum> {
        let mut stream = sent(ctx)?;
        let (mut bytes, mut hash) = (0, Sha256::new());
        while let Some(chunk) = stream.next_bytes().await? {
            bytes += chunk.len();
            hash.update(chunk);
        }
        let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Checksum { bytes, sha256: hex })
    }

    /// So many bytes of text, as a stream.
    #[action(params = { bytes: "number|integer|min:0|convert" }, rest = "GET /generate")]
    async fn generate(&self, ctx: &Context, params: Generate) -> Result<()> {
        // What the gateway makes of the answer.
        ctx.set_meta(json!({
            "$responseType": "text/plain",
            "$responseHeaders": { "Content-Disposition": "attachment; filename=\"letters.txt\"" },
        }))?;
        let mut answer = ctx.respond_stream()?;
        let letters: Vec<u8> = (b'a'..=b'z').cycle().take(CHUNK_LEN / 26 * 26).collect();
        let mut left = params.bytes;
        while left > 0 {
            let chunk = letters.get(..left.min(letters.len())).unwrap_or(&letters);
            answer.write(chunk).await?;
            left -= chunk.len();
        }
        answer.end()
    }

    /// What the caller sends, in capital letters, while it is being sent.
    #[action]
    async fn upper(&self, ctx: &Context) -> Result<()> {
        let mut stream = sent(ctx)?;
        let mut answer = ctx.respond_stream()?;
        while let Some(chunk) = stream.next_bytes().await? {
            answer.write(chunk.to_ascii_uppercase()).await?;
        }
        answer.end()
    }

    /// Each line of what the caller sends as an object with its number.
    #[action]
    async fn lines(&self, ctx: &Context) -> Result<()> {
        let mut stream = sent(ctx)?;
        let mut answer = ctx.respond_objects()?;
        let (mut line, mut rest) = (0, Vec::new());
        while let Some(chunk) = stream.next_bytes().await? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let ended: Vec<u8> = rest.drain(..=end).collect();
                line += 1;
                write_line(&mut answer, line, &ended).await?;
            }
            if rest.len() > LINE_LEN_MAX {
                return Err(Error::client(413, "LINE_TOO_LONG", "a line is longer than 1 MiB"));
            }
        }
        if !rest.is_empty() {
            write_line(&mut answer, line + 1, &rest).await?;
        }
        answer.end()
    }
}

async fn write_line(answer: &mut Writer, line: usize, text: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(text);
    answer.write_object(Line { line, text: text.trim_end_matches(['\r', '\n']) }).await
}

fn sent(ctx: &Context) -> Result<Reader> {
    ctx.stream().ok_or_else(|| Error::client(400, "NO_STREAM", "send a stream with this call"))
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn an_upload_is_summed_up() {
        let mock = MockBroker::new().with_stream(["a", "bc"]);
        let sum = mock.call(&mut Files, "files.checksum", ()).unwrap();
        assert_eq!(sum["bytes"], 3);
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum["sha256"], sha256);
        let error = mock.call(&mut Files, "files.checksum", ()).unwrap_err();
        assert_eq!(error.kind(), "NO_STREAM");
    }

    #[test]
    fn a_download_has_as_many_bytes_as_were_asked_for() {
        let mock = MockBroker::new();
        for bytes in [0, 3, CHUNK_LEN, 200_000] {
            mock.call(&mut Files, "files.generate", json!({ "bytes": bytes })).unwrap();
            let written = mock.answered_streams().pop().unwrap();
            assert_eq!((written.bytes().len(), &written.end), (bytes, &Some(Ok(()))));
        }
        assert_eq!(mock.meta()["$responseType"], "text/plain");
    }

    #[test]
    fn letters_become_capital_and_lines_objects() {
        let mock = MockBroker::new().with_stream(["ab", "c\nD"]);
        mock.call(&mut Files, "files.upper", ()).unwrap();
        let mock = mock.with_stream(["one\r\nt", "wo\n\nfour"]);
        mock.call(&mut Files, "files.lines", ()).unwrap();
        let written = mock.answered_streams();
        assert_eq!(written[0].bytes(), b"ABC\nD");
        let texts = ["one", "two", "", "four"];
        let lines = texts.iter().zip(1..).map(|(text, n)| json!({ "line": n, "text": text }));
        assert_eq!(written[1].chunks, lines.map(Payload::from).collect::<Vec<_>>());
    }
}
