//! Bodies in signed chunks (`aws-chunked`): verifies every chunk and passes it on without its signature.
//!
//! Invariant: the end of the body is passed on only if every chunk and the trailer carry the signature that follows
//! from the previous one. Before that, bytes may have been passed on; an error ends the body.

use bytes::{Buf, Bytes, BytesMut};
use dlio_storage::random::hex;
use futures::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::{Body, StdError};
use sha2::{Digest, Sha256};

use super::key::{Key, equal};

/// Longest line between chunks, in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;
/// Most lines in a trailer.
const TRAILER_LINES_MAX: usize = 64;

/// The framing that remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// None: plain bytes.
    None,
    /// Chunks without signatures, and the trailer that follows them.
    WithTrailer,
}

/// The seed from which the signatures of the chunks follow.
pub(super) struct Seed {
    pub(super) key: Key,
    /// Signature of the request.
    pub(super) signature: String,
}

/// The receiver of a chunked body recognises signature errors by this name.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("SignatureMismatch")]
    SignatureMismatch,
    #[error("a chunk of the body is malformed")]
    Malformed,
    #[error("the body ends within a chunk")]
    Incomplete,
    #[error("{0}")]
    Receiving(StdError),
}

/// Returns the body, which is verified while it is read.
pub(super) fn verified(body: Body, seed: Seed, framing: Framing) -> Body {
    let Seed { key, signature } = seed;
    let blob = StreamingBlob::from(body);
    let chunks = Chunks {
        blob,
        arrived: Bytes::new(),
        key,
        previous: signature,
        framing,
        hash: Sha256::new(),
        place: Place::Head,
    };
    let stream = futures::stream::try_unfold(chunks, |mut chunks| async move {
        let bytes = chunks.next().await?;
        Ok::<_, Broken>(bytes.map(|bytes| (bytes, chunks)))
    });
    Body::from(StreamingBlob::wrap(stream))
}

struct Chunks {
    blob: StreamingBlob,
    /// Received bytes that have not been processed.
    arrived: Bytes,
    key: Key,
    /// The signature from which the next one follows.
    previous: String,
    framing: Framing,
    /// Hash of the current chunk so far.
    hash: Sha256,
    place: Place,
}

enum Place {
    /// Before the header line of a chunk.
    Head,
    /// Within a chunk that has this many bytes left.
    Data {
        left: u64,
        signature: String,
    },
    End,
}

impl Chunks {
    /// Returns the next bytes to pass on.
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            match std::mem::replace(&mut self.place, Place::End) {
                Place::End => return Ok(None),
                Place::Data { left: 0, signature } => {
                    self.verify_chunk(&signature)?;
                    if !self.line().await?.is_empty() {
                        return Err(Broken::Malformed);
                    }
                    self.place = Place::Head;
                    if self.framing == Framing::WithTrailer {
                        return Ok(Some(Bytes::from_static(b"\r\n")));
                    }
                }
                Place::Data { left, signature } => {
                    if self.arrived.is_empty() && !self.receive().await? {
                        return Err(Broken::Incomplete);
                    }
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(self.arrived.len());
                    let bytes = self.arrived.split_to(now);
                    self.hash.update(&bytes);
                    self.place = Place::Data { left: left - bytes.len() as u64, signature };
                    return Ok(Some(bytes));
                }
                Place::Head => {
                    if let Some(bytes) = self.head().await? {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Reads the header line of a chunk and, after the last chunk, what follows it.
    async fn head(&mut self) -> Result<Option<Bytes>, Broken> {
        let line = self.line().await?;
        let (size, signature) = parse_head(&line).ok_or(Broken::Malformed)?;
        if size > 0 {
            self.place = Place::Data { left: size, signature };
            let head = Bytes::from(format!("{size:x}\r\n"));
            return Ok((self.framing == Framing::WithTrailer).then_some(head));
        }
        self.verify_chunk(&signature)?;
        if self.framing == Framing::None {
            // The request body may end without an empty line.
            while self.receive().await? {}
            return Ok(None);
        }
        self.trailer().await.map(Some)
    }

    fn verify_chunk(&mut self, signature: &str) -> Result<(), Broken> {
        let content = hex(&std::mem::take(&mut self.hash).finalize());
        let lines = [self.previous.clone(), hex(&Sha256::digest(b"")), content];
        self.follow(signature, "AWS4-HMAC-SHA256-PAYLOAD", &lines.each_ref().map(String::as_str))
    }

    /// Reads the end of the chunks with the verified trailer.
    async fn trailer(&mut self) -> Result<Bytes, Broken> {
        let (mut fields, mut signature) = (Vec::new(), None);
        for _ in 0..TRAILER_LINES_MAX {
            if self.arrived.is_empty() && !self.receive().await? {
                break;
            }
            let line = self.line().await?;
            if line.is_empty() {
                // Some senders end the last, empty chunk with a line end of its own.
                if fields.is_empty() && signature.is_none() {
                    continue;
                }
                break;
            }
            let (name, value) = line.split_once(':').ok_or(Broken::Malformed)?;
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            if name == "x-amz-trailer-signature" {
                signature = Some(value);
            } else {
                fields.push((name, value));
            }
        }
        fields.sort();
        let signed = joined(&fields, "\n");
        let lines = [self.previous.clone(), hex(&Sha256::digest(signed))];
        let signature = signature.ok_or(Broken::Malformed)?;
        self.follow(&signature, "AWS4-HMAC-SHA256-TRAILER", &lines.each_ref().map(String::as_str))?;
        Ok(Bytes::from(format!("0\r\n{}\r\n", joined(&fields, "\r\n"))))
    }

    fn follow(&mut self, signature: &str, algorithm: &str, lines: &[&str]) -> Result<(), Broken> {
        let expected = self.key.sign(algorithm, lines);
        if !equal(expected.as_bytes(), signature.as_bytes()) {
            return Err(Broken::SignatureMismatch);
        }
        self.previous = expected;
        Ok(())
    }

    /// Returns the next line without its line end, which the last line of a body may lack.
    async fn line(&mut self) -> Result<String, Broken> {
        let mut line = BytesMut::new();
        loop {
            let end = self.arrived.iter().position(|byte| *byte == b'\n');
            let more = end.unwrap_or(self.arrived.len());
            if line.len() + more > LINE_BYTES_MAX {
                return Err(Broken::Malformed);
            }
            line.extend_from_slice(&self.arrived.split_to(more));
            let ends = match end {
                Some(_) => {
                    self.arrived.advance(1);
                    true
                }
                None => !self.receive().await?,
            };
            if ends && end.is_none() && line.is_empty() {
                return Err(Broken::Incomplete);
            }
            if ends {
                let text = line.strip_suffix(b"\r").unwrap_or(&line);
                return Ok(std::str::from_utf8(text).map_err(|_| Broken::Malformed)?.to_owned());
            }
        }
    }

    /// Receives more bytes; returns `false` at the end of the body.
    async fn receive(&mut self) -> Result<bool, Broken> {
        let Some(bytes) = self.blob.next().await else { return Ok(false) };
        self.arrived = bytes.map_err(Broken::Receiving)?;
        Ok(true)
    }
}

/// Returns names and values, each followed by the given line end.
fn joined(fields: &[(String, String)], end: &str) -> String {
    fields.iter().map(|(name, value)| format!("{name}:{value}{end}")).collect::<Vec<_>>().concat()
}

/// Parses size and signature in the header line of a chunk.
fn parse_head(line: &str) -> Option<(u64, String)> {
    let (size, signature) = line.split_once(";chunk-signature=")?;
    Some((u64::from_str_radix(size.trim(), 16).ok()?, signature.trim().to_owned()))
}
