//! What was said, for a span whose policy asks for it: messages in the conventions' form, in which nothing is left that
//! a redaction rule of the caller looks for, in whichever direction and whatever the rule does with it.
//!
//! A request is shown as redaction left it, an answer before placeholders are restored, and both are searched once
//! more, `report` included. Every text is bounded before it is copied. What is not shown at all: the bytes of pictures,
//! sound and files, reasoning that a signature may cover, and what this file does not know.

use std::rc::Rc;

use weir_pii as pii;
use weir_sorted::contains;
use weir_wire::json::{self, Limits, Value, Writer};
use weir_wire::splice::Splices;

use crate::search::{Hit, Search, document};

/// Most bytes of JSON for each direction.
pub const MOST: usize = 16 << 10;
/// Of a request's, most for the system's instructions.
const SYSTEM: usize = 4 << 10;
/// Most for an id, a tool's name, a media type.
pub(crate) const NAME: usize = 128;
/// With less room than this a part is not begun, and what was begun finds its end.
const ROOM: usize = 512;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// `gen_ai.system_instructions`; JSON, as the others. Empty where there is none.
    pub system: String,
    /// `gen_ai.input.messages`.
    pub input: String,
    /// `gen_ai.output.messages`.
    pub output: String,
    /// Something had no room.
    pub cut: bool,
    /// Why something is not shown; empty where nothing is missing.
    pub omitted: &'static str,
}

/// Reads a request that is redacted, in whichever dialect. Where a conversation is too long its newest messages are
/// shown.
#[inline(never)]
pub fn request(root: Value<'_, '_>, set: &Rc<pii::Set>) -> Content {
    let mut content = Content::default();
    if let Some(system) = first(root, &["system", "instructions"]) {
        let mut parts = Parts::new(set, SYSTEM);
        parts.out.begin_array();
        parts.block(system);
        parts.out.end_array();
        content.system = parts.take(&mut content.cut);
    }
    let Some(all) = first(root, &["messages", "input", "prompt"]) else { return content };
    let messages: Vec<Value<'_, '_>> = match all.kind() {
        json::Kind::Array => all.items().collect(),
        _ => vec![all],
    };
    let mut room = MOST.saturating_sub(content.system.len() + 2);
    let mut shown: Vec<String> = Vec::new();
    for message in messages.into_iter().rev() {
        if !matches!(message.kind(), json::Kind::String | json::Kind::Object) {
            // The ids of tokens.
            continue;
        }
        if room < 2 * ROOM {
            content.cut = true;
            break;
        }
        let mut parts = Parts::new(set, room);
        parts.message(message, None);
        let message = parts.take(&mut content.cut);
        room -= (message.len() + 1).min(room);
        shown.push(message);
    }
    content.input.push('[');
    for message in shown.iter().rev() {
        if content.input.len() > 1 {
            content.input.push(',');
        }
        content.input.push_str(message);
    }
    content.input.push(']');
    content
}

/// Reads a whole answer, in whichever dialect; `finishes` says why each of its choices ended. Also whether something
/// had no room.
pub fn answer(root: Value<'_, '_>, finishes: &[String], set: &Rc<pii::Set>) -> (String, bool) {
    let mut parts = Parts::new(set, MOST);
    parts.out.begin_array();
    let mut finishes = finishes.iter().map(String::as_str);
    let mut ended = || Some(finishes.next().unwrap_or(FAILED));
    match root.get("choices") {
        Some(choices) => {
            for choice in choices.items() {
                parts.message(choice.get("message").unwrap_or(choice), ended());
            }
        }
        None => {
            let output = root.get("output");
            let message = output.and_then(|output| output.get("message"));
            parts.message(message.or(output).unwrap_or(root), ended());
        }
    }
    parts.out.end_array();
    let mut cut = false;
    (parts.take(&mut cut), cut)
}

/// Why an answer ended whose end was not seen.
pub(crate) const FAILED: &str = "error";

/// What becomes of a member of a message or a block.
#[derive(Clone, Copy)]
enum Does {
    /// It is a text of this type, or holds some.
    Says(&'static str),
    /// The result of a call.
    Result,
    /// JSON.
    Json,
    /// Bytes.
    Medium,
}

/// Members of messages and blocks of all dialects, in the order in which they are shown.
const MEMBERS: [(&str, Does); 15] = [
    ("text", Does::Says("text")),
    ("content", Does::Says("text")),
    ("reasoning_content", Does::Says("reasoning")),
    ("reasoning", Does::Says("reasoning")),
    ("refusal", Does::Says("refusal")),
    ("tool_calls", Does::Says("text")),
    ("function_call", Does::Says("text")),
    ("citationsContent", Does::Says("text")),
    ("toolUse", Does::Says("text")),
    ("toolResult", Does::Result),
    ("json", Does::Json),
    ("image", Does::Medium),
    ("audio", Does::Medium),
    ("video", Does::Medium),
    ("document", Does::Medium),
];

/// Messages as they are written.
pub(crate) struct Parts {
    set: Rc<pii::Set>,
    pub(crate) out: Writer,
    most: usize,
    written: usize,
    cut: bool,
}

impl Parts {
    #[inline(never)]
    pub(crate) fn new(set: &Rc<pii::Set>, most: usize) -> Self {
        Self { set: set.clone(), out: Writer::new(Vec::new()), most, written: 0, cut: false }
    }

    /// What was written, and whether something of it had no room.
    #[inline(never)]
    pub(crate) fn take(self, cut: &mut bool) -> String {
        *cut |= self.cut;
        String::from_utf8(self.out.into_inner()).unwrap_or_default()
    }

    /// Begins a message.
    #[inline(never)]
    pub(crate) fn begin(&mut self, role: &str) {
        self.out.begin_object().member("role", role).key("parts").begin_array();
        self.written += 64;
    }

    /// Ends it.
    #[inline(never)]
    pub(crate) fn end(&mut self, finish: Option<&str>) {
        self.out.end_array();
        if let Some(finish) = finish {
            self.out.key("finish_reason");
            self.say(finish, true, NAME);
        }
        self.out.end_object();
    }

    fn message(&mut self, value: Value<'_, '_>, finish: Option<&str>) {
        let kind = string(value, "type");
        let role = match string(value, "role") {
            role @ ("system" | "developer" | "user" | "assistant" | "tool") => role,
            _ if finish.is_some() || kind.ends_with("_call") || kind == "reasoning" => "assistant",
            "function" => "tool",
            _ if kind.ends_with("_output") => "tool",
            _ => "user",
        };
        if !self.fits() {
            return;
        }
        self.begin(role);
        match value.get("tool_call_id") {
            Some(id) => self.result(Some(id), value.get("content")),
            None => self.block(value),
        }
        self.end(finish);
    }

    /// Whether another part has room.
    #[inline(never)]
    pub(crate) fn fits(&mut self) -> bool {
        let fits = self.written + ROOM <= self.most;
        self.cut |= !fits;
        fits
    }

    /// What a text may have: the message around it finds its end too.
    fn room(&self) -> usize {
        self.most.saturating_sub(self.written + ROOM / 2)
    }

    /// A text, a block, several of them, or a message's own members. No deeper than the parser's depth limit.
    fn block(&mut self, value: Value<'_, '_>) {
        self.said("text", value);
    }

    fn said(&mut self, kind: &'static str, value: Value<'_, '_>) {
        match value.kind() {
            json::Kind::String => return self.text(kind, &word(Some(value)), true),
            json::Kind::Array => return value.items().for_each(|item| self.said(kind, item)),
            json::Kind::Object => {}
            json::Kind::Null | json::Kind::Bool | json::Kind::Number => return,
        }
        let id = first(value, &["call_id", "toolUseId", "tool_use_id", "id"]);
        let of = string(value, "type");
        // What is called stands beside the call's id in chats, with it in the others.
        let call = first(value, &["function", "custom"]).unwrap_or(value);
        let input = first(call, &["arguments", "input"]);
        if let (Some(name), Some(input)) = (call.get("name"), input) {
            return self.call(&word(id), &word(Some(name)), &whole(input), true);
        }
        if of == "tool_result" || of.ends_with("_output") {
            return self.result(id, first(value, &["content", "output"]));
        }
        if of == "reasoning" {
            return;
        }
        if let Some(modality) = MEDIA.iter().find(|modality| contains(of, modality)) {
            return self.medium(modality, value);
        }
        for (key, does) in MEMBERS {
            let Some(member) = value.get(key) else { continue };
            match does {
                Does::Says(kind) => self.said(kind, member),
                Does::Result => self.result(member.get("toolUseId"), member.get("content")),
                Does::Json => self.call("", "json", &whole(member), true),
                Does::Medium => self.medium(key, member),
            }
        }
    }

    /// A text.
    #[inline(never)]
    pub(crate) fn text(&mut self, kind: &str, text: &str, whole: bool) {
        if text.is_empty() || !self.fits() {
            return;
        }
        self.out.begin_object().member("type", kind).key("content");
        self.written += 48;
        self.say(text, whole, self.most);
        self.out.end_object();
    }

    /// A call of a tool.
    pub(crate) fn call(&mut self, id: &str, name: &str, arguments: &str, whole: bool) {
        if !self.fits() {
            return;
        }
        self.out.begin_object().member("type", "tool_call");
        self.named("id", id);
        self.named("name", name);
        self.written += 64;
        if !matches!(arguments, "" | "{}") {
            self.out.key("arguments");
            let shown = self.shown(arguments, whole, self.most);
            match shown {
                Some(shown)
                    if shown.len() <= self.room()
                        && json::parse(shown.as_bytes(), &Limits::default()).is_ok() =>
                {
                    self.written += shown.len();
                    self.out.raw(shown.as_bytes());
                }
                shown => self.put(&shown.unwrap_or_default(), self.most),
            }
        }
        self.out.end_object();
    }

    fn named(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.out.key(key);
            self.say(value, true, NAME);
        }
    }

    /// What a tool said: a text, or blocks.
    fn result(&mut self, id: Option<Value<'_, '_>>, said: Option<Value<'_, '_>>) {
        if !self.fits() {
            return;
        }
        self.out.begin_object().member("type", "tool_call_response");
        self.named("id", &word(id));
        self.out.key("response");
        self.written += 64;
        match said.filter(|said| said.kind() != json::Kind::String) {
            None => self.say(&word(said), true, self.most),
            Some(said) => {
                self.out.begin_array();
                self.block(said);
                self.out.end_array();
            }
        }
        self.out.end_object();
    }

    /// A picture, sound, a film or a file: that it is there, and how many bytes of JSON it has.
    fn medium(&mut self, modality: &str, value: Value<'_, '_>) {
        if !self.fits() {
            return;
        }
        self.out.begin_object().member("type", "weir.omitted").member("modality", modality);
        let source = value.get("source").unwrap_or(value);
        let kind = first(source, &["media_type"]).or_else(|| first(value, &["format"]));
        self.named("mime_type", &word(kind));
        self.out.key("size").u64(value.raw().len() as u64);
        self.out.end_object();
        self.written += 96;
    }

    #[inline(never)]
    fn say(&mut self, text: &str, whole: bool, most: usize) {
        let shown = self.shown(text, whole, most).unwrap_or_default();
        self.put(&shown, most);
    }

    /// What of a text has room, all hidden that is to be hidden. `whole` says that it came to its end. None where it
    /// cannot be told.
    fn shown(&mut self, text: &str, whole: bool, most: usize) -> Option<String> {
        let room = most.min(self.room());
        if document(text) {
            // What its escapes stand for only the whole of it says.
            let shown = if whole { hidden(&self.set, text) } else { None };
            self.cut |= shown.is_none();
            return shown;
        }
        if whole && text.len() <= room {
            return hidden(&self.set, text);
        }
        self.cut = true;
        // At its end may be the beginning of a value: what is not decided is not told.
        let mut redactor = pii::Redactor::new(self.set.clone());
        let mut out = String::new();
        redactor.push(prefix(text, room), &mut out);
        Some(out)
    }

    /// Writes as much of a text as has room; nothing is in it that must not be cut.
    fn put(&mut self, text: &str, most: usize) {
        let room = most.min(self.room());
        let mut cost = 0;
        let mut end = text.len();
        for (at, character) in text.char_indices() {
            let more = match character {
                '"' | '\\' => 2,
                '\0'..' ' => 6,
                other => other.len_utf8(),
            };
            if cost + more > room {
                self.cut = true;
                end = at;
                break;
            }
            cost += more;
        }
        self.written += cost;
        self.out.str(text.get(..end).unwrap_or_default());
    }
}

/// Words in the types of parts that hold bytes, and what they are called.
const MEDIA: [&str; 5] = ["image", "audio", "video", "document", "file"];

/// The first member that is there.
#[inline(never)]
pub(crate) fn first<'d, 'a>(value: Value<'d, 'a>, keys: &[&str]) -> Option<Value<'d, 'a>> {
    keys.iter().find_map(|key| value.get(key))
}

/// A string; empty where it is none.
#[inline(never)]
pub(crate) fn word(value: Option<Value<'_, '_>>) -> String {
    value.and_then(|value| value.as_str()).unwrap_or_default().into_owned()
}

/// A string, or else the JSON of it.
fn whole(value: Value<'_, '_>) -> String {
    match value.kind() {
        json::Kind::String => word(Some(value)),
        _ => value.json().to_owned(),
    }
}

fn string<'a>(value: Value<'_, 'a>, key: &str) -> &'a str {
    value.get(key).and_then(Value::str_raw).unwrap_or_default()
}

/// As many characters as fit into so many bytes.
pub(crate) fn prefix(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A text with all masked that is found in it.
fn hidden(set: &pii::Set, text: &str) -> Option<String> {
    let mut vault = pii::Vault::new();
    let mut find = |document: &pii::Document<'_>, out: &mut Vec<pii::Finding>| {
        pii::find_in_document(set, document, out);
    };
    let (mut splices, mut value, mut with) = (Splices::new(), String::new(), String::new());
    let mut found = |hit: Hit<'_>| {
        with.clear();
        with.push_str(hit.quote);
        let finding = hit.finding.detached(hit.value, &mut value);
        if set.replacement(&value, &finding, &mut vault, &mut with) {
            with.push_str(hit.quote);
            splices.replace(hit.range, with.as_bytes());
        }
    };
    Search { find: &mut find, apart: false, level: 0, found: &mut found }.text(text, false);
    String::from_utf8(splices.apply(text.as_bytes()).ok()?).ok()
}
