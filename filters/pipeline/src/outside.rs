//! Detectors outside: which texts they are to be asked about, what they answer, and what of it is remembered.
//!
//! Their API is that of Presidio's analyzer: `POST /analyze` with a text, answered by a list of types and places, whose
//! offsets count Unicode code points. When and by whom a request waits for them is [`Exchange`](crate::Exchange)'s.

use std::cell::OnceCell;
use std::rc::Rc;

use weir_config::filter;
use weir_pii::outside::{self, Hit};
use weir_pii::{self as pii, Document, Finding, Kind};
use weir_sorted::{Gather, Map};
use weir_wire::json::{self, Limits, Value};

use crate::io::Now;
use crate::policy::{self, Policy};
use crate::seen::Hash;

/// Answers that are remembered; each takes some fifty bytes and those of its hits.
const SLOTS: usize = 1024;
/// Hits of an answer that is remembered, at most.
const MOST_KEPT: usize = 64;
/// How long, in seconds: a detector that has learned more is asked again.
const KEPT: u64 = 600;
/// Hits in one text that are believed.
const MOST_HITS: usize = 10_000;

/// What was found in a text.
pub type Hits = Rc<Vec<Hit>>;

/// Answers of detectors outside by text, known by a hash under seeds that no client knows. A chat sends its history
/// again with every turn: a turn costs its new text only. Of fixed size; a text takes the place of another.
#[derive(Debug, Default)]
pub struct Heard(Vec<(Hash, u64, Hits)>);

impl Heard {
    fn slot(&mut self, key: Hash) -> Option<&mut (Hash, u64, Hits)> {
        if self.0.is_empty() {
            self.0.resize(SLOTS, Default::default());
        }
        self.0.get_mut(usize::try_from(key.0 % SLOTS as u64).unwrap_or(0))
    }

    fn get(&mut self, key: Hash, now: Now) -> Option<Hits> {
        let (of, until, hits) = self.slot(key)?;
        (*of == key && *until > now.seconds()).then(|| hits.clone())
    }

    /// Remembers an answer.
    pub fn put(&mut self, key: Hash, now: Now, hits: &Hits) {
        if hits.len() <= MOST_KEPT
            && let Some(slot) = self.slot(key)
        {
            *slot = (key, now.seconds().saturating_add(KEPT), hits.clone());
        }
    }
}

/// What one request knows of its texts.
#[derive(Debug, Default)]
pub struct Known {
    /// By text and detector. What is asked for is nothing until it is answered.
    hits: Map<Hash, Hits>,
    /// Detectors that are not asked any more, a bit each: the policy lets pass what they do not see.
    failed: u32,
}

impl Known {
    /// What a detector answered.
    pub fn heard(&mut self, key: Hash, hits: Hits) {
        self.hits.insert(key, hits);
    }

    /// A detector is given up.
    pub fn fail(&mut self, analyzer: usize) {
        self.failed |= 1 << analyzer;
    }

    /// Whether any was.
    pub fn gap(&self) -> bool {
        self.failed != 0
    }

    /// Whether it was.
    pub fn failed(&self, analyzer: usize) -> bool {
        self.failed & 1 << analyzer != 0
    }
}

/// A text that a detector outside is to be asked about.
#[derive(Debug)]
pub struct Wanted {
    /// Index of the detector.
    pub analyzer: usize,
    /// What the answer is known by.
    pub key: Hash,
    /// The text: what was found here is masked.
    pub shown: String,
    /// It was asked before, and the connection broke.
    pub again: bool,
}

/// What a text of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A user's message, or a part of one.
    Message,
    /// Any other.
    Text,
    /// The name of an object's member.
    Name,
}

/// Finds in a text what the detectors here find, and what those outside are known to have found.
pub struct Finder<'a> {
    /// The detectors here.
    pub set: &'a pii::Set,
    /// The rules that ask for them, a bit each.
    pub rules: u64,
    /// The policy.
    pub policy: &'a Policy,
    /// Those outside that are to be asked, a bit each.
    pub asked: u32,
    /// What is known.
    pub known: &'a mut Known,
    /// What is to be asked.
    pub wanted: Vec<Wanted>,
    /// The present time.
    pub now: Now,
}

/// Those of JSON.
pub(crate) static ESCAPES: pii::Escapes = pii::Escapes { short: json::SHORT_ESCAPES, long: json::escape };

impl Finder<'_> {
    /// What a text is known by, as it is written, once nothing was found in it. None where detectors outside are asked,
    /// who have a memory of their own.
    pub fn searched(&self, part: Part, written: &str) -> Option<Hash> {
        let here = self.asked & !self.known.failed == 0;
        if here { self.policy.seen.borrow().searched(self.rules, part as u8, written) } else { None }
    }

    /// Whether anything may be found in a text, as it is written.
    pub fn may_find(&self, written: &str) -> bool {
        self.asked != 0 || self.set.may_find(written)
    }

    /// Appends what is found in a text that is written with escapes; false where it has to be read without them.
    pub fn find_written(&mut self, value: Value<'_, '_>, part: Part, out: &mut Vec<Finding>) -> bool {
        let Some(raw) = value.str_raw().filter(|_| self.asked == 0) else { return false };
        let text = OnceCell::new();
        let text = || text.get_or_init(|| value.as_str().unwrap_or_default()).as_ref();
        let written = pii::Written { raw, escapes: &ESCAPES, text: &text, message: part == Part::Message };
        pii::find_written(self.set, &written, out);
        true
    }

    /// Appends what is found in a text, and maybe more. The name of an object's member is nobody's unless it has several
    /// words: what programs call things must not be taken for people.
    pub fn find(&mut self, document: &Document<'_>, part: Part, out: &mut Vec<Finding>) {
        let (from, text) = (out.len(), document.text);
        let asked = self.asked & !self.known.failed;
        pii::find_in_document(self.set, document, out);
        if part == Part::Message && out.len() == from {
            pii::find_alone(self.set, text, out);
        }
        let worth = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
        if asked == 0 || (part == Part::Name && !text.as_bytes().contains(&b' ')) || !text.bytes().any(worth)
        {
            return;
        }
        let mut own = out.split_off(from);
        let shown = outside::shown(text, &own);
        let mut hits: Vec<Hit> = Vec::new();
        for analyzer in (0..policy::MOST_ANALYZERS).filter(|at| asked & 1 << at != 0) {
            let mut key = self.policy.seen.borrow().key(!(analyzer as u64));
            key.push(shown.as_bytes());
            let key = key.finish();
            if let Some(known) = self.known.hits.get(&key) {
                hits.extend_from_slice(known);
                continue;
            }
            let remembered = self.policy.heard.borrow_mut().get(key, self.now);
            if remembered.is_none() {
                self.wanted.push(Wanted { analyzer, key, shown: shown.clone(), again: false });
            }
            let remembered = remembered.unwrap_or_default();
            hits.extend_from_slice(&remembered);
            self.known.heard(key, remembered);
        }
        outside::add(text, &mut own, &hits);
        out.append(&mut own);
    }
}

/// The body of a request to a detector.
pub fn question(analyzer: &filter::Analyzer, shown: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(shown.len() + analyzer.rest.len() + 16);
    body.extend_from_slice(b"{\"text\":\"");
    json::escape_into(&mut body, shown);
    body.push(b'"');
    body.extend_from_slice(analyzer.rest.as_bytes());
    body
}

/// What an answer finds in `shown`: types that nobody asked for are left out. `None` where it is no such answer, or
/// speaks of places that the text does not have.
pub fn answer(analyzer: &filter::Analyzer, shown: &str, answer: &[u8]) -> Option<Hits> {
    let doc = json::parse(answer, &Limits::default()).ok()?;
    let root = doc.root();
    if root.kind() != json::Kind::Array || root.len() > MOST_HITS {
        return None;
    }
    let action = policy::action(analyzer.action);
    // Where each character begins, where that is not simply its number.
    let starts: Option<Vec<u32>> = (!shown.is_ascii() && !root.is_empty())
        .then(|| (0..=shown.len()).filter(|at| shown.is_char_boundary(*at)).map(|at| at as u32).gather());
    let place = |name| {
        let at = usize::try_from(name).ok()?;
        match &starts {
            Some(starts) => starts.get(at).map(|start| *start as usize),
            None => (at <= shown.len()).then_some(at),
        }
    };
    // Quotes and brackets of a document in the text are no part of anybody's name, and must stay.
    let inner = json::parse(shown.as_bytes(), &Limits::default()).ok();
    let inner = inner.filter(|doc| matches!(doc.root().kind(), json::Kind::Object | json::Kind::Array));
    let mut strings = Vec::new();
    if let Some(doc) = &inner {
        doc.root().scalars(&mut |value, name| {
            // Between its quotes. What programs call things is nobody's name.
            let at = value.range();
            let program = name && !value.inner().as_bytes().contains(&b' ');
            if !program && value.kind() == json::Kind::String && at.len() > 2 {
                strings.push(at.start + 1..at.end - 1);
            }
        });
    }
    let mut hits = Vec::new();
    for item in root.items() {
        let range = place(item.get("start")?.as_u64()?)?..place(item.get("end")?.as_u64()?)?;
        let theirs = item.get("entity_type")?.as_str()?;
        if range.is_empty() {
            return None;
        }
        let Some(kind) = analyzer.types.get(&*theirs).and_then(|name| Kind::named(name)) else { continue };
        if inner.is_none() {
            hits.push(Hit { kind, range, action });
            continue;
        }
        let first = strings.partition_point(|string| string.end <= range.start);
        let touched = strings.iter().skip(first).take_while(|string| string.start < range.end);
        for string in touched {
            let range = string.start.max(range.start)..string.end.min(range.end);
            hits.push(Hit { kind, range, action });
        }
        if hits.len() > MOST_HITS {
            return None;
        }
    }
    Some(Rc::new(hits))
}
