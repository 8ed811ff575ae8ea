//! AWS event stream frames (`application/vnd.amazon.eventstream`) out of bytes that arrive in any pieces,
//! and into bytes.
//!
//! A frame is handed on only after both its checksums and all its headers were judged. The first bad frame
//! ends the stream: its length cannot be trusted, so there is no place to go on from.

mod crc;
mod headers;

use std::fmt;

pub use headers::{HeaderValue, Headers};

/// Total length, headers length, and the checksum of the two.
const PRELUDE: usize = 12;
/// A frame without headers and payload.
const SMALLEST: usize = 16;
/// The protocol's bound on the headers of a frame.
const MOST_HEADERS: usize = 128 * 1024;

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Lengths that contradict each other, or a wrong checksum over them.
    BadPrelude,
    /// A wrong checksum over a frame.
    BadCrc,
    /// A frame larger than the decoder's bound.
    TooLarge,
    /// Headers that do not fill their place, of an unknown type, or not UTF-8.
    BadHeaders,
    /// The stream ended inside a frame.
    Truncated,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadPrelude => "bad prelude of an event stream frame",
            Self::BadCrc => "bad checksum of an event stream frame",
            Self::TooLarge => "event stream frame too large",
            Self::BadHeaders => "bad headers of an event stream frame",
            Self::Truncated => "event stream ended inside a frame",
        })
    }
}

impl std::error::Error for Error {}

/// One frame; its checksums were right.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'f> {
    /// All its bytes, checksums included.
    pub raw: &'f [u8],
    headers: &'f [u8],
    /// What the frame carries, JSON in Bedrock's streams.
    pub payload: &'f [u8],
}

impl<'f> Frame<'f> {
    /// All headers in order.
    pub fn headers(&self) -> Headers<'f> {
        Headers::new(self.headers)
    }

    /// The first header of that name that is a string.
    pub fn header(&self, name: &str) -> Option<&'f str> {
        self.headers().find_map(|(header, value)| match value {
            HeaderValue::Str(text) if header == name => Some(text),
            _ => None,
        })
    }

    /// `event`, `exception` or `error`.
    pub fn message_type(&self) -> Option<&'f str> {
        self.header(":message-type")
    }

    /// The event's name.
    pub fn event_type(&self) -> Option<&'f str> {
        self.header(":event-type")
    }

    /// The exception's name.
    pub fn exception_type(&self) -> Option<&'f str> {
        self.header(":exception-type")
    }
}

/// Cuts a byte stream into frames.
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: usize,
    held: Vec<u8>,
    failed: Option<Error>,
}

impl Decoder {
    /// A decoder that refuses frames of more than `max_frame` bytes and so never holds more.
    pub fn new(max_frame: usize) -> Self {
        Self { limit: max_frame, held: Vec::new(), failed: None }
    }

    /// Takes bytes and hands on each frame that they complete. An error is final: it is returned again by
    /// every later push.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn FnMut(Frame<'_>)) -> Result<(), Error> {
        let result = match self.failed {
            Some(error) => Err(error),
            None => self.take(chunk, sink),
        };
        if let Err(error) = result {
            self.failed = Some(error);
            self.held = Vec::new();
        }
        result
    }

    fn take(&mut self, mut chunk: &[u8], sink: &mut dyn FnMut(Frame<'_>)) -> Result<(), Error> {
        while !chunk.is_empty() {
            if self.held.is_empty() {
                // The usual case: whole frames in one chunk are not copied.
                match self.length(chunk)? {
                    Some(length) if length <= chunk.len() => {
                        let (frame, rest) = chunk.split_at_checked(length).unwrap_or((chunk, &[]));
                        sink(open(frame)?);
                        chunk = rest;
                    }
                    _ => {
                        self.held.extend_from_slice(chunk);
                        return Ok(());
                    }
                }
                continue;
            }
            let wanted = self.length(&self.held)?.unwrap_or(PRELUDE);
            let missing = wanted.saturating_sub(self.held.len()).min(chunk.len());
            let (now, rest) = chunk.split_at_checked(missing).unwrap_or((chunk, &[]));
            self.held.extend_from_slice(now);
            chunk = rest;
            if self.length(&self.held)? == Some(self.held.len()) {
                sink(open(&self.held)?);
                self.held.clear();
            }
        }
        Ok(())
    }

    /// Whether the stream ended between two frames, and well.
    pub fn finish(&self) -> Result<(), Error> {
        match self.failed {
            Some(error) => Err(error),
            None if self.held.is_empty() => Ok(()),
            None => Err(Error::Truncated),
        }
    }

    /// The length of the frame that starts `bytes`, once its prelude is there and right.
    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let Some(prelude) = bytes.first_chunk::<PRELUDE>() else { return Ok(None) };
        let (total, headers, sum) = split_prelude(prelude);
        let fits = total >= SMALLEST && headers <= (total - SMALLEST).min(MOST_HEADERS);
        if !fits || crc::of(prelude.first_chunk::<8>().map_or(&[], |lengths| lengths.as_slice())) != sum {
            return Err(Error::BadPrelude);
        }
        if total > self.limit { Err(Error::TooLarge) } else { Ok(Some(total)) }
    }
}

fn split_prelude(prelude: &[u8; PRELUDE]) -> (usize, usize, u32) {
    let &[a, b, c, d, e, f, g, h, i, j, k, l] = prelude;
    let word = |bytes| u32::from_be_bytes(bytes);
    (word([a, b, c, d]) as usize, word([e, f, g, h]) as usize, word([i, j, k, l]))
}

/// Judges a whole frame whose prelude was right.
fn open(frame: &[u8]) -> Result<Frame<'_>, Error> {
    let (body, sum) = frame.split_last_chunk::<4>().ok_or(Error::BadPrelude)?;
    if crc::of(body) != u32::from_be_bytes(*sum) {
        return Err(Error::BadCrc);
    }
    let (prelude, rest) = body.split_first_chunk::<PRELUDE>().ok_or(Error::BadPrelude)?;
    let (_, length, _) = split_prelude(prelude);
    let (headers, payload) = rest.split_at_checked(length).ok_or(Error::BadPrelude)?;
    let mut judged = Headers::new(headers);
    judged.by_ref().for_each(drop);
    if judged.is_bad() { Err(Error::BadHeaders) } else { Ok(Frame { raw: frame, headers, payload }) }
}

/// Appends a frame with string headers. Names are cut at 255 bytes and values at 32,767, the protocol's
/// bounds; what Weir writes is far below them.
pub fn encode(out: &mut Vec<u8>, headers: &[(&str, &str)], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE]);
    for (name, value) in headers {
        headers::encode(out, name, value);
    }
    let length = out.len() - start - PRELUDE;
    let total = (out.len() - start + payload.len() + 4) as u32;
    let mut lengths = [0; 8];
    for (slot, byte) in
        lengths.iter_mut().zip(total.to_be_bytes().into_iter().chain((length as u32).to_be_bytes()))
    {
        *slot = byte;
    }
    let prelude = lengths.into_iter().chain(crc::of(&lengths).to_be_bytes());
    for (slot, byte) in out.iter_mut().skip(start).zip(prelude) {
        *slot = byte;
    }
    out.extend_from_slice(payload);
    let sum = crc::of(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_be_bytes());
}
