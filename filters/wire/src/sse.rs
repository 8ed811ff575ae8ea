//! Server-sent events (WHATWG HTML §9.2) out of bytes that arrive in any pieces.
//!
//! The decoder frames on bytes, so a code point split by the network is never looked at half. Every byte
//! pushed comes back exactly once: in the `raw` of one event, or from [`Decoder::finish`]; a stage that
//! changes nothing can forward `raw` and the stream stays byte-identical. Which bytes belong to which event
//! depends on the stream alone, never on how it was cut. Field values are bytes: judging them as UTF-8 and
//! JSON is the dialect's work.

use std::borrow::Cow;
use std::fmt;

/// An event, or a stream that never ends its first one, is larger than the decoder may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The bound in bytes.
    pub limit: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server-sent event larger than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLarge {}

/// What stood before one blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'e> {
    /// All its bytes: comments, unknown fields and the blank line included.
    pub raw: &'e [u8],
    /// The last `event` field, if not empty.
    pub name: Option<&'e [u8]>,
    /// The `data` fields joined by line feeds.
    pub data: Cow<'e, [u8]>,
    /// Whether there was a `data` field at all: without one a browser would dispatch nothing. Comments that
    /// only keep the connection alive arrive this way.
    pub has_data: bool,
}

/// How the last line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By LF or CRLF, or there was none yet: a CR now is taken for half a CRLF.
    Lf,
    /// By a CR alone: so are the others, and nothing is waited for.
    Cr,
}

/// Cuts a byte stream into events.
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: usize,
    /// The bytes of the event that has not ended yet.
    held: Vec<u8>,
    lines: Lines,
    failed: bool,
}

/// What is known about the event in progress; offsets are into its bytes.
#[derive(Clone, Copy, Debug)]
struct Lines {
    /// Where the current line starts.
    line: usize,
    /// How far line ends were searched.
    seen: usize,
    ending: Ending,
    /// Whether this is the stream's first event, before which a byte order mark may stand.
    first: bool,
}

impl Decoder {
    /// A decoder that holds at most `max_event` bytes.
    pub fn new(max_event: usize) -> Self {
        let lines = Lines { line: 0, seen: 0, ending: Ending::Lf, first: true };
        Self { limit: max_event, held: Vec::new(), lines, failed: false }
    }

    /// Takes bytes and hands on each event that they complete.
    ///
    /// After an error the decoder takes nothing more; the rest of the chunk that failed is kept, so that
    /// [`Decoder::finish`] still returns every byte of it that no event had.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), TooLarge> {
        let error = TooLarge { limit: self.limit };
        if self.failed {
            return Err(error);
        }
        let mut chunk = chunk;
        if !self.held.is_empty() {
            let before = self.held.len();
            self.held.extend_from_slice(chunk);
            let Some(end) = self.lines.end(&self.held) else {
                return self.keep(error);
            };
            if end > self.limit {
                self.failed = true;
                return Err(error);
            }
            self.lines.emit(self.held.get(..end).unwrap_or_default(), sink);
            self.held.clear();
            chunk = chunk.get(end.saturating_sub(before)..).unwrap_or_default();
        }
        loop {
            let end = self.lines.end(chunk);
            let event = chunk.get(..end.unwrap_or(usize::MAX)).filter(|event| event.len() <= self.limit);
            let Some(event) = event else {
                self.held.extend_from_slice(chunk);
                self.failed = end.is_some();
                return if self.failed { Err(error) } else { self.keep(error) };
            };
            self.lines.emit(event, sink);
            chunk = chunk.get(event.len()..).unwrap_or_default();
        }
    }

    /// The bytes of an event that never ended; empty where the stream ended well. Per the standard such an
    /// event is not dispatched. The decoder is then as new, but for the byte order mark.
    pub fn finish(&mut self) -> Vec<u8> {
        self.lines = Lines { line: 0, seen: 0, ending: Ending::Lf, first: false };
        self.failed = false;
        std::mem::take(&mut self.held)
    }

    /// Bytes held at present.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn keep(&mut self, error: TooLarge) -> Result<(), TooLarge> {
        self.failed = self.held.len() > self.limit;
        if self.failed { Err(error) } else { Ok(()) }
    }
}

impl Lines {
    /// Where the event ends that starts at 0 of `bytes`; looks only at what was not seen before.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let rest = bytes.get(self.seen..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.seen = bytes.len();
                return None;
            };
            let at = self.seen + found;
            let line = bytes.get(self.line..at).unwrap_or_default();
            let mark = self.first && self.line == 0 && line == b"\xef\xbb\xbf";
            let blank = line.is_empty() || mark;
            if bytes.get(at) == Some(&b'\n') {
                // The LF of a CRLF whose CR was judged before it arrived.
                let second_half = blank && !mark && at == self.line && self.ending == Ending::Cr;
                self.next_line(at + 1, Ending::Lf);
                if blank && !second_half {
                    return Some(at + 1);
                }
                continue;
            }
            match bytes.get(at + 1) {
                Some(b'\n') if !(blank && self.ending == Ending::Cr) => {
                    self.next_line(at + 2, Ending::Lf);
                    if blank {
                        return Some(at + 2);
                    }
                }
                // In a stream of bare CRs nothing is waited for: the event is whole.
                _ if blank && self.ending == Ending::Cr => {
                    self.next_line(at + 1, Ending::Cr);
                    return Some(at + 1);
                }
                Some(_) => {
                    self.next_line(at + 1, Ending::Cr);
                    if blank {
                        return Some(at + 1);
                    }
                }
                None => {
                    self.seen = at;
                    return None;
                }
            }
        }
    }

    fn next_line(&mut self, at: usize, ending: Ending) {
        self.line = at;
        self.seen = at;
        self.ending = ending;
    }

    fn emit(&mut self, raw: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        let mark = self.first && raw.starts_with(b"\xef\xbb\xbf");
        let mut rest = if mark { raw.get(3..).unwrap_or_default() } else { raw };
        (self.line, self.seen, self.first) = (0, 0, false);
        let mut name: &[u8] = b"";
        let mut data: Option<Cow<'_, [u8]>> = None;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let line = rest.get(..end).unwrap_or_default();
            // CRLF counts as two line ends here, of which the second is blank and adds nothing.
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(value) = field(line, b"data") {
                match &mut data {
                    None => data = Some(Cow::Borrowed(value)),
                    Some(data) => {
                        let data = data.to_mut();
                        data.push(b'\n');
                        data.extend_from_slice(value);
                    }
                }
            } else if let Some(value) = field(line, b"event") {
                name = value;
            }
        }
        let has_data = data.is_some();
        let name = (!name.is_empty()).then_some(name);
        sink(Event { raw, name, data: data.unwrap_or_default(), has_data });
    }
}

/// The value of a line whose field is `name`: after the colon and one space, or empty without a colon.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
