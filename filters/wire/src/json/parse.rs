//! The one pass that judges a document and builds its tape: a loop with an explicit stack, no recursion.

use weir_sorted::sort_by;

use super::scan::plain_end;
use super::unescape::{SHORT_ESCAPES, escape_at, unescape};
use super::{COUNT, Doc, ESCAPED, Error, ErrorKind, Kind, Limits, NAME, Node};

/// Objects with more members than this are sorted to find duplicate keys; smaller ones compare pairs.
const PAIRS: usize = 12;

/// Judges `text` and builds its tape. Linear in `text`, but for objects of many members, whose keys are
/// sorted: n·log n comparisons.
pub fn parse<'a>(text: &'a [u8], limits: &Limits) -> Result<Doc<'a>, Error> {
    judge(text, limits, false)
}

/// The same for whoever reads all texts of a document and asks for none by its key: an object may have a key twice.
pub fn parse_texts<'a>(text: &'a str, limits: &Limits) -> Result<Doc<'a>, Error> {
    judge(text.as_bytes(), limits, true)
}

#[inline(never)]
fn judge<'a>(text: &'a [u8], limits: &Limits, twice: bool) -> Result<Doc<'a>, Error> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(Error { at: 0, kind: ErrorKind::Bom });
    }
    if u32::try_from(text.len()).is_err() {
        return Err(Error { at: 0, kind: ErrorKind::TooMany });
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| Error { at: error.valid_up_to(), kind: ErrorKind::Utf8 })?;
    let nodes = Vec::with_capacity((text.len() / 48).clamp(8, 1024));
    let mut parser = Parser { twice, ..Parser::new(Doc { text, nodes }, limits) };
    parser.document()?;
    Ok(parser.doc)
}

/// Documents that become the items of one array, which is never parsed as a whole.
pub struct Joined {
    text: String,
    nodes: Vec<Node>,
}

impl Default for Joined {
    fn default() -> Self {
        let array = Node { start: 0, end: 0, next: 0, meta: Kind::Array as u32 };
        Self { text: "[".to_owned(), nodes: vec![array] }
    }
}

impl Joined {
    /// One more, where it is a document, and where it begins. An object may have a key twice.
    pub fn push(&mut self, text: &str) -> Option<usize> {
        let Self { text: all, nodes } = self;
        let (before, items) = (all.len(), nodes.len());
        let start = before + usize::from(items > 1);
        if items > 1 {
            all.push(',');
        }
        all.push_str(text);
        let doc = Doc { text: all, nodes: std::mem::take(nodes) };
        let mut parser = Parser { at: start, twice: true, ..Parser::new(doc, &Limits::default()) };
        let read = u32::try_from(all.len()).is_ok() && parser.document().is_ok();
        *nodes = parser.doc.nodes;
        if read {
            nodes.first_mut().into_iter().for_each(|array| array.meta += 1 << COUNT);
            return Some(start);
        }
        nodes.truncate(items);
        all.truncate(before);
        None
    }

    /// All of them; none where there were none.
    pub fn doc(&mut self) -> Option<Doc<'_>> {
        let mut nodes = std::mem::take(&mut self.nodes);
        self.text.push(']');
        let (end, next) = (self.text.len() as u32, nodes.len() as u32);
        nodes.first_mut().into_iter().for_each(|array| (array.end, array.next) = (end, next));
        (next > 1).then_some(Doc { text: &self.text, nodes })
    }
}

/// An array or object that is not closed yet.
struct Open {
    node: u32,
    object: bool,
    count: u32,
}

struct Parser<'a> {
    doc: Doc<'a>,
    bytes: &'a [u8],
    at: usize,
    open: Vec<Open>,
    depth: usize,
    most: usize,
    twice: bool,
}

impl<'a> Parser<'a> {
    fn new(doc: Doc<'a>, limits: &Limits) -> Self {
        let most = limits.nodes.min((1 << (32 - COUNT)) - 1) as usize;
        let (bytes, depth) = (doc.text.as_bytes(), usize::from(limits.depth));
        Self { doc, bytes, at: 0, open: Vec::new(), depth, most, twice: false }
    }

    fn document(&mut self) -> Result<(), Error> {
        if self.space().is_none() {
            return self.fail(ErrorKind::Empty);
        }
        loop {
            if self.value()? {
                continue;
            }
            // A value ended: what may follow depends on the innermost open container.
            loop {
                let next = self.space();
                let Some(open) = self.open.last_mut() else {
                    return if next.is_none() { Ok(()) } else { self.fail(ErrorKind::TrailingData) };
                };
                match (next, open.object) {
                    (Some(b','), object) => {
                        open.count += 1;
                        self.at += 1;
                        self.space();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        open.count += 1;
                        self.close()?;
                    }
                    _ => return self.fail(ErrorKind::Syntax),
                }
            }
        }
    }

    /// One value at `at`; true when it opened a container whose first value is to be read next.
    fn value(&mut self) -> Result<bool, Error> {
        let start = self.at;
        match self.bytes.get(start) {
            Some(b'"') => self.string()?,
            Some(&byte @ (b'{' | b'[')) => return self.enter(byte == b'{'),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true", Kind::Bool)?,
            Some(b'f') => self.literal(b"false", Kind::Bool)?,
            Some(b'n') => self.literal(b"null", Kind::Null)?,
            _ => return self.fail(ErrorKind::Syntax),
        }
        Ok(false)
    }

    fn enter(&mut self, object: bool) -> Result<bool, Error> {
        if self.open.len() >= self.depth {
            return self.fail(ErrorKind::Depth);
        }
        let node = self.push(self.at, if object { Kind::Object } else { Kind::Array }, 0)?;
        self.open.push(Open { node, object, count: 0 });
        self.at += 1;
        match (self.space(), object) {
            (Some(b'}'), true) | (Some(b']'), false) => {
                self.close()?;
                Ok(false)
            }
            (_, true) => self.key().map(|()| true),
            (_, false) => Ok(true),
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.at += 1;
        let Some(open) = self.open.pop() else { return self.fail(ErrorKind::Syntax) };
        let (end, next) = (self.at as u32, self.doc.nodes.len() as u32);
        if let Some(node) = self.doc.nodes.get_mut(open.node as usize) {
            node.end = end;
            node.next = next;
            node.meta |= open.count << COUNT;
        }
        if open.object && open.count > 1 && !self.twice {
            self.distinct(open.node, open.count as usize)
        } else {
            Ok(())
        }
    }

    /// A key and its colon; leaves `at` on the value.
    fn key(&mut self) -> Result<(), Error> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return self.fail(ErrorKind::Syntax);
        }
        self.string()?;
        self.doc.nodes.last_mut().into_iter().for_each(|name| name.meta |= NAME);
        if self.space() != Some(b':') {
            return self.fail(ErrorKind::Syntax);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut flags = 0;
        self.at += 1;
        loop {
            // Escapes often follow each other.
            if self.bytes.get(self.at) != Some(&b'\\') {
                self.at = plain_end(self.bytes, self.at);
            }
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    flags = ESCAPED;
                    let short =
                        self.bytes.get(self.at + 1).and_then(|it| SHORT_ESCAPES.get(usize::from(*it)));
                    if short.is_some_and(|meant| *meant != 0) {
                        self.at += 2;
                        continue;
                    }
                    match escape_at(self.bytes, self.at) {
                        Ok((_, length)) => self.at += length,
                        Err(kind) => return self.fail(kind),
                    }
                }
                _ => return self.fail(ErrorKind::Syntax),
            }
        }
        self.at += 1;
        self.push(start, Kind::String, flags).map(|_| ())
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            // A leading zero stands alone; a digit after it is then an error of what follows the value.
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            return self.fail(ErrorKind::Syntax);
        }
        self.push(start, Kind::Number, 0).map(|_| ())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { self.fail(ErrorKind::Syntax) } else { Ok(()) }
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<(), Error> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        if !rest.starts_with(word) {
            self.at += rest.iter().zip(word).take_while(|(a, b)| a == b).count();
            return self.fail(ErrorKind::Syntax);
        }
        self.at += word.len();
        self.push(start, kind, 0).map(|_| ())
    }

    /// Puts the value from `start` to `at` on the tape.
    fn push(&mut self, start: usize, kind: Kind, flags: u32) -> Result<u32, Error> {
        let index = self.doc.nodes.len();
        if index >= self.most {
            return Err(Error { at: start, kind: ErrorKind::TooMany });
        }
        self.doc.nodes.push(Node {
            start: start as u32,
            end: self.at as u32,
            next: index as u32 + 1,
            meta: kind as u32 | flags,
        });
        Ok(index as u32)
    }

    /// Skips white space and tells what follows.
    fn space(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn fail<T>(&self, kind: ErrorKind) -> Result<T, Error> {
        Err(Error { at: self.at, kind })
    }

    /// Refuses an object that has a key twice, naming the later one.
    fn distinct(&self, object: u32, count: usize) -> Result<(), Error> {
        let twice = if count <= PAIRS { self.pairs(object, count) } else { self.sorted(object, count) };
        match twice {
            Some(at) => Err(Error { at: at as usize, kind: ErrorKind::DuplicateKey }),
            None => Ok(()),
        }
    }

    fn keys(&self, object: u32, count: usize) -> impl Iterator<Item = Node> {
        let mut at = object + 1;
        (0..count).map(move |_| {
            let key = *self.doc.node(at);
            at = self.doc.node(at + 1).next;
            key
        })
    }

    fn pairs(&self, object: u32, count: usize) -> Option<u32> {
        let mut seen: [&[u8]; PAIRS] = [&[]; PAIRS];
        for (index, key) in self.keys(object, count).enumerate() {
            if key.meta & ESCAPED != 0 {
                // Rare enough that such an object takes the general way.
                return self.sorted(object, count);
            }
            let body = self.body(key);
            let before = seen.get(..index).unwrap_or_default();
            if before.iter().any(|other| other.len() == body.len() && *other == body.as_bytes()) {
                return Some(key.start);
            }
            if let Some(slot) = seen.get_mut(index) {
                *slot = body.as_bytes();
            }
        }
        None
    }

    fn sorted(&self, object: u32, count: usize) -> Option<u32> {
        let unescaped: Vec<String> = self
            .keys(object, count)
            .filter(|key| key.meta & ESCAPED != 0)
            .map(|key| unescape(self.body(key)))
            .collect();
        let mut unescaped = unescaped.iter();
        let mut keys: Vec<(&str, u32)> = self
            .keys(object, count)
            .map(|key| {
                let escaped = key.meta & ESCAPED != 0;
                let text = if escaped { unescaped.next().map_or("", String::as_str) } else { self.body(key) };
                (text, key.start)
            })
            .collect();
        // The sort is stable: of equal keys the later one comes second.
        sort_by(&mut keys, |(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        keys.windows(2)
            .filter_map(|pair| match pair {
                [a, b] if a.0 == b.0 => Some(b.1),
                _ => None,
            })
            .min()
    }

    fn body(&self, key: Node) -> &str {
        self.doc.slice(key.start + 1, key.end - 1)
    }
}
