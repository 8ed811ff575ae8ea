//! A provider's answer on its way to the client: read for usage and texts, and changed only where something must be
//! restored, hidden or masked. Bytes that nothing changes pass as they came, at once.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use weir_dialects::hub::Usage;
use weir_dialects::openai_chat::{Chunk, Slot, unquote};
use weir_dialects::openai_embeddings::Outline;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_completions, openai_responses};
use weir_pii as pii;
use weir_sorted::SipHash;
use weir_tokens::Vocabulary;
use weir_wire::json::{self, Limits};
use weir_wire::splice::Splices;

use crate::outside::ESCAPES;
use crate::paths::Api;
use crate::seen::Seen;

mod heard;
mod stream;
mod whole;

pub use stream::Stream;
pub use whole::Whole;

/// Largest event of a stream and largest answer that is read as a whole.
const MAX_EVENT: usize = 4 << 20;
const MAX_WHOLE: usize = 16 << 20;

/// An answer.
pub enum Answer {
    /// Its headers have not come.
    None,
    /// Nobody here reads it: encoded, or of another type.
    Opaque(bool),
    /// Envoy's own refusal, to be replaced by these bytes.
    Local(Vec<u8>),
    /// One JSON document of numbers, of which the rest is kept, and whether it came whole.
    Outline(Outline, bool),
    /// One JSON document.
    Whole(Box<Whole>),
    /// Server-sent events.
    Stream(Box<Stream>),
}

/// What an answer says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The provider's id.
    pub id: String,
    /// The model that answered.
    pub model: String,
    /// The service tier that answered.
    pub tier: String,
    /// The state of the provider that answered, as OpenAI tells it.
    pub fingerprint: String,
    /// Why it ended, one per choice.
    pub finish: Vec<String>,
    /// Tokens as billed.
    pub usage: Option<Usage>,
    /// Output tokens counted here, at any moment of the answer; where the vocabulary is not known, bytes: no fewer.
    pub output: u64,
    /// All of the output was counted.
    pub counted: bool,
    /// `output` is a count of bytes.
    pub bytes: bool,
    /// The type of what the policy blocked in it.
    pub blocked: Option<&'static str>,
    /// Findings by type.
    pub found: Vec<(pii::Kind, u64)>,
}

impl Facts {
    fn count(&mut self, found: &[(pii::Kind, u64)]) {
        for (kind, more) in found {
            match self.found.iter_mut().find(|(known, _)| known == kind) {
                Some((_, count)) => *count += more,
                None => self.found.push((*kind, *more)),
            }
        }
    }
}

/// The answer cannot go on; these are its last bytes.
pub struct Cut {
    /// What the client reads last.
    pub last: Vec<u8>,
}

/// What is done to an answer's texts.
#[derive(Clone, Default)]
pub struct Treatment {
    /// Placeholders to restore.
    pub vault: Option<Rc<pii::Vault>>,
    /// What is masked in what the model says.
    pub set: Option<Rc<pii::Set>>,
    /// What is only counted in it.
    pub watch: Option<Rc<pii::Set>>,
    /// The usage chunk is ours, not the client's.
    pub hide_usage: bool,
    /// Counts the output.
    pub vocabulary: Option<Vocabulary>,
    /// Under it the counts of what is said are remembered: the client's next turn brings it back.
    pub key: Option<SipHash>,
    /// It may be ended early, so that only whole events go on.
    pub ends_early: bool,
    /// What cannot be searched passes.
    pub unsearched: bool,
    /// What is said is kept for the span, but for what this finds.
    pub shown: Option<Rc<pii::Set>>,
}

impl Treatment {
    /// Whether any byte may change.
    pub fn changes(&self) -> bool {
        self.vault.is_some() || self.set.is_some() || self.hide_usage || self.ends_early
    }

    fn texts(&self) -> bool {
        self.vault.is_some() || self.set.is_some()
    }

    /// What looks for something in a text of the answer.
    fn redactor(&self, slot: Slot) -> Option<pii::Redactor> {
        let set = self.set.as_ref().or(self.watch.as_ref())?;
        Some(pii::Redactor::new(set.clone()).in_json(&ESCAPES, matches!(slot, Slot::Tool(_))))
    }

    /// What becomes of a text that is there at once, or what is blocked in it; what was found is counted into `facts`.
    /// What repeats the request (`echo`) is the client's own: it is only restored.
    fn whole(&self, slot: Slot, echo: bool, text: &str, facts: &mut Facts) -> Result<String, pii::Kind> {
        let mut out = text.to_owned();
        if let Some(mut redactor) = self.redactor(slot).filter(|_| !echo) {
            let mut masked = String::new();
            redactor.whole(&out, &mut masked);
            facts.count(redactor.counts());
            if let Some(kind) = redactor.blocked() {
                return Err(kind);
            }
            if self.set.is_some() {
                out = masked;
            }
        }
        if let Some(vault) = &self.vault {
            let mut restorer = restorer(vault, slot);
            let mut restored = String::new();
            restorer.push(&out, &mut restored);
            restorer.finish(&mut restored);
            out = restored;
        }
        Ok(out)
    }
}

impl Answer {
    /// Whether answers of this content type are read.
    pub fn reads(api: Api, content_type: &str) -> bool {
        !matches!(Self::new(api, content_type, Treatment::default()), Self::Opaque(_))
    }

    /// The reader of an answer of this content type.
    pub fn new(api: Api, content_type: &str, treatment: Treatment) -> Self {
        let frames = api.aws() && content_type.starts_with("application/vnd.amazon.eventstream");
        if frames || content_type.starts_with("text/event-stream") {
            Self::Stream(Box::new(Stream::new(api, treatment)))
        } else if api == Api::OpenaiEmbeddings {
            Self::Outline(Outline::default(), false)
        } else if content_type.starts_with("application/json") {
            Self::Whole(Box::new(Whole::new(api, treatment)))
        } else {
            Self::Opaque(false)
        }
    }

    /// Bytes may change: their number is not known up front.
    pub fn changes(&self) -> bool {
        match self {
            Self::None | Self::Opaque(_) | Self::Local(_) | Self::Outline(..) => false,
            Self::Whole(whole) => whole.changes(),
            Self::Stream(stream) => stream.changes(),
        }
    }

    /// One document that may change: the host is asked to keep its pieces, so that what nothing changes goes on as it
    /// came, and what changes with its length. Whether it is one.
    pub fn keep(&mut self) -> bool {
        self.kept(true)
    }

    /// The host keeps them no longer.
    pub fn release(&mut self) {
        self.kept(false);
    }

    fn kept(&mut self, kept: bool) -> bool {
        match self {
            Self::Whole(whole) => whole.keep(kept),
            _ => false,
        }
    }

    /// Takes a piece. `Some` is what the client gets in its place, or in that of all pieces that the host keeps.
    pub fn push(&mut self, chunk: &[u8], end: bool) -> Result<Option<Vec<u8>>, Cut> {
        match self {
            Self::None => Ok(None),
            Self::Opaque(complete) => {
                *complete |= end;
                Ok(None)
            }
            Self::Outline(outline, complete) => {
                outline.push(chunk);
                *complete |= end;
                Ok(None)
            }
            Self::Local(body) => Ok(Some(if end { std::mem::take(body) } else { Vec::new() })),
            Self::Whole(whole) => whole.push(chunk, end),
            Self::Stream(stream) => stream.push(chunk, end),
        }
    }

    /// Output tokens so far, by the vocabulary or by their bytes; 0 of what is no stream.
    pub fn output(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.output(),
            _ => 0,
        }
    }

    /// Ends a stream as a model does that ran into its ceiling. Nothing of what may still come is told.
    pub fn end_early(&mut self, usage: Option<Usage>) -> Vec<u8> {
        match self {
            Self::Stream(stream) => stream.end_early(usage),
            _ => Vec::new(),
        }
    }

    /// It is silent for too long: what the client of a stream reads last.
    pub fn give_up(&mut self) -> Vec<u8> {
        match self {
            Self::Stream(stream) => stream.give_up(),
            _ => Vec::new(),
        }
    }

    /// It came to its end.
    pub fn complete(&self) -> bool {
        match self {
            Self::None | Self::Local(_) => false,
            Self::Opaque(complete) | Self::Outline(_, complete) => *complete,
            Self::Whole(whole) => whole.complete(),
            Self::Stream(stream) => stream.complete(),
        }
    }

    /// What was said, for the span: messages as JSON, and whether something had no room.
    pub fn shown(&self) -> Option<(String, bool)> {
        match self {
            Self::Whole(whole) => whole.shown(),
            Self::Stream(stream) => stream.shown(),
            _ => None,
        }
    }

    /// Tells what was said and how many tokens it has, when nobody waits any more.
    pub fn remember(&self, seen: &mut Seen) {
        match self {
            Self::None | Self::Opaque(_) | Self::Local(_) | Self::Outline(..) => {}
            Self::Whole(whole) => whole.remember(seen),
            Self::Stream(stream) => stream.remember(seen),
        }
    }

    /// What it said.
    pub fn facts(&self) -> Facts {
        match self {
            Self::None | Self::Opaque(_) | Self::Local(_) => Facts::default(),
            Self::Outline(outline, complete) => outlined(outline, *complete),
            Self::Whole(whole) => whole.facts(),
            Self::Stream(stream) => stream.facts(),
        }
    }
}

/// What is known of an answer that has no texts.
fn outlined(outline: &Outline, complete: bool) -> Facts {
    let mut facts = Facts { counted: complete, ..Facts::default() };
    if let Ok(doc) = json::parse(&outline.text, &Limits::default()) {
        let answer = openai_chat::read_answer(&doc);
        facts.model = answer.model.as_deref().unwrap_or_default().to_owned();
        facts.usage = answer.usage;
    }
    facts
}

/// `name` is the event's, which only frames need.
fn read_chunk_into(api: Api, name: &[u8], payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    match api {
        Api::BedrockConverse => {
            bedrock::read_event_into(std::str::from_utf8(name).unwrap_or_default(), payload, chunk)
        }
        Api::BedrockModel => bedrock::read_invoke_into(payload, chunk),
        Api::OpenaiCompletions => openai_completions::read_chunk_into(payload, chunk),
        Api::OpenaiChat | Api::OpenaiEmbeddings | Api::Models => openai_chat::read_chunk_into(payload, chunk),
        Api::OpenaiResponses => openai_responses::read_event_into(payload, chunk),
        Api::AnthropicMessages | Api::AnthropicCount | Api::BedrockInvoke => {
            anthropic::read_event_into(payload, chunk)
        }
    }
}

/// A text that may not be altered: a signature of the provider covers it.
fn sealed(api: Api, slot: Slot) -> bool {
    (api.messages() || matches!(api, Api::BedrockConverse | Api::OpenaiResponses)) && slot == Slot::Reasoning
}

/// An answer without the texts of its tokens, which nobody masks; none where it has none.
fn without_tokens(data: &[u8]) -> Option<Vec<u8>> {
    tells_tokens(data).then_some(())?;
    let doc = json::parse(data, &Limits::default()).ok()?;
    let mut edits = Splices::new();
    forget_tokens(doc.root(), &mut edits);
    if edits.is_empty() { None } else { edits.apply(data).ok() }
}

/// Whether an answer may say something of its tokens. Nearly all say that there is nothing, and are not read for that.
fn tells_tokens(data: &[u8]) -> bool {
    let nothing = |after: &[u8]| {
        let value = after.trim_ascii_start().strip_prefix(b":").unwrap_or_default();
        value.trim_ascii_start().starts_with(b"null")
    };
    // The name is sought by its letter that answers have least of.
    memchr::memchr_iter(b'b', data).any(|at| {
        let name = at.checked_sub(7).and_then(|from| data.get(from..at + 3));
        name == Some(br#""logprobs""#) && !nothing(data.get(at + 3..).unwrap_or_default())
    })
}

/// A string of a document that was read, given with its quotes.
fn unquoted(document: &[u8], at: Range<usize>) -> Option<Cow<'_, str>> {
    match document.get(at.clone()) {
        Some([b'"', plain @ .., b'"']) if memchr::memchr(b'\\', plain).is_none() => {
            std::str::from_utf8(plain).ok().map(Cow::Borrowed)
        }
        _ => unquote(document, at).map(Cow::Owned),
    }
}

fn forget_tokens(value: json::Value<'_, '_>, edits: &mut Splices) {
    match value.kind() {
        json::Kind::Array => value.items().for_each(|item| forget_tokens(item, edits)),
        json::Kind::Object => {
            for (name, member) in value.members() {
                match member.kind() {
                    json::Kind::Object if name.is("logprobs") => {
                        edits.replace(member.range(), b"null");
                    }
                    json::Kind::Array if name.is("logprobs") => {
                        edits.replace(member.range(), b"[]");
                    }
                    _ => forget_tokens(member, edits),
                }
            }
        }
        _ => {}
    }
}

/// A JSON string with its quotes.
fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    json::escape_into(&mut out, text);
    out.push(b'"');
    out
}

/// Arguments of a tool call are JSON themselves: what comes back into them is escaped.
fn restorer(vault: &pii::Vault, slot: Slot) -> pii::Restorer {
    let restorer = vault.restorer();
    if matches!(slot, Slot::Tool(_)) { restorer.in_json() } else { restorer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment() -> Treatment {
        let rule = pii::Rule { find: vec!["email".into()], words: Vec::new(), action: pii::Action::Mask };
        let set = pii::Set::new(&[rule]).unwrap();
        Treatment { set: Some(Rc::new(set)), ..Treatment::default() }
    }

    fn heard(content_type: &str, cut: usize, body: &str) -> String {
        passed(&mut Answer::new(Api::OpenaiChat, content_type, treatment()), body, cut).unwrap()
    }

    /// What the client gets of a body in two pieces, if it gets anything.
    fn passed(answer: &mut Answer, body: &str, cut: usize) -> Option<String> {
        let mut out = String::new();
        let (first, last) = body.split_at(cut);
        for (piece, end) in [(first, false), (last, true)] {
            match answer.push(piece.as_bytes(), end) {
                Ok(Some(bytes)) => out += std::str::from_utf8(&bytes).unwrap(),
                Ok(None) => out += piece,
                Err(_) => return None,
            }
        }
        Some(out)
    }

    #[test]
    fn what_changes_nothing_in_an_answer_of_one_piece_leaves_the_piece_as_it_came() {
        let body =
            r#"{"id":"a","choices":[{"index":0,"message":{"content":"nobody"},"finish_reason":"stop"}]}"#;
        let mut answer = Answer::new(Api::OpenaiChat, "application/json", treatment());
        assert!(matches!(answer.push(body.as_bytes(), true), Ok(None)));
        for text in [body.to_owned(), body.replace("nobody", "x@y.org")] {
            for cut in 0..=text.len() {
                let mut answer = Answer::new(Api::OpenaiChat, "application/json", treatment());
                let out = passed(&mut answer, &text, cut).unwrap();
                assert_eq!(out, text.replace("x@y.org", "[EMAIL]"), "{cut}");
            }
        }
    }

    #[test]
    fn tokens_of_a_masked_answer_are_not_told() {
        let tokens = r#"{"content":[{"token":"x@y","logprob":-0.1,"bytes":[120,64,121],"top_logprobs":[]}]}"#;
        let body = format!(
            r#"{{"id":"a","choices":[{{"index":0,"message":{{"role":"assistant","content":"x@y.org and \"logprobs\""}},"logprobs":{tokens},"finish_reason":"stop"}}]}}"#
        );
        let stream = format!(
            "data: {{\"id\":\"a\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"x@y.org, \"}},\"logprobs\":{tokens},\"finish_reason\":null}}]}}\n\n\
             data: {{\"id\":\"a\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        );
        for (kind, body) in [("application/json", body), ("text/event-stream", stream)] {
            for cut in 0..=body.len() {
                let out = heard(kind, cut, &body);
                assert!(!out.contains("x@y") && !out.contains("120"), "{cut}: {out}");
                assert!(out.contains("[EMAIL]") && out.contains("\"logprobs\":null"), "{cut}: {out}");
            }
        }
    }

    #[test]
    fn only_answers_that_tell_of_tokens_are_read_for_them() {
        let told = [
            r#"{"logprobs":[1]}"#,
            r#"{"logprobs":null,"logprobs" : {}}"#,
            r#"{"a":"logprobs","logprobs":[]}"#,
            "{\"logprobs\"\n:\t[]}",
        ];
        let not = [
            r#"{"logprobs":null}"#,
            "{\"logprobs\" :\nnull}",
            r#"{"a":1}"#,
            r#"{"a":"\"logprobs\":[]"}"#,
            "",
        ];
        assert!(told.iter().all(|data| tells_tokens(data.as_bytes())));
        assert!(!not.iter().any(|data| tells_tokens(data.as_bytes())));
    }

    #[test]
    fn what_cannot_be_read_is_cut_off_or_passes_as_the_policy_says() {
        let body = "{not json: x@y.org";
        for (unsearched, expected) in [(false, None), (true, Some(body.to_owned()))] {
            for cut in [0, 5] {
                let treatment = Treatment { unsearched, ..treatment() };
                let mut answer = Answer::new(Api::OpenaiChat, "application/json", treatment);
                assert_eq!(passed(&mut answer, body, cut), expected, "{cut}");
            }
        }
        assert!(
            Answer::reads(Api::OpenaiChat, "text/event-stream")
                && !Answer::reads(Api::OpenaiChat, "text/html")
        );
    }

    #[test]
    fn json_that_a_model_says_is_hidden_and_restored_and_stays_json_in_every_dialect() {
        let find = ["email", "credit_card", "ip_address", "password"].map(str::to_owned).to_vec();
        let rule = pii::Rule { find, words: Vec::new(), action: pii::Action::Mask };
        let set = Rc::new(pii::Set::new(&[rule]).unwrap());
        let mut vault = pii::Vault::new();
        vault.placeholder(pii::Kind::WORD, "a \"b\"\n");
        let vault = Some(Rc::new(vault));
        let treatment = || Treatment { set: Some(set.clone()), vault: vault.clone(), ..Treatment::default() };
        let said = r#"{"for":"[WORD_1]","to":"a\nx\u0040y.org","n":[4111111111111111,50.386645822324795],"ip":"\t10.1.2.3","password":"c0rrect\u0068orse9X"}"#;
        let hidden = r#"{"for":"a \"b\"\n","to":"a\n[EMAIL]","n":["[CREDIT_CARD]",50.386645822324795],"ip":"\t[IP_ADDRESS]","password":"[PASSWORD]"}"#;
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        type Whole = fn(&str, &str) -> String;
        let wholes: [(Api, Whole); 6] = [
            // What is asked for as JSON.
            (Api::OpenaiChat, |_, text| {
                format!(r#"{{"choices":[{{"index":0,"message":{{"content":{text}}}}}]}}"#)
            }),
            (Api::BedrockConverse, |_, text| {
                format!(r#"{{"output":{{"message":{{"content":[{{"text":{text}}}]}}}}}}"#)
            }),
            (Api::OpenaiChat, |_, text| {
                format!(
                    r#"{{"choices":[{{"index":0,"message":{{"tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":{text}}}}}]}}}}]}}"#
                )
            }),
            (Api::OpenaiResponses, |_, text| {
                format!(
                    r#"{{"id":"r","output":[{{"type":"function_call","call_id":"c","name":"f","arguments":{text}}}]}}"#
                )
            }),
            (Api::AnthropicMessages, |json, _| {
                format!(r#"{{"content":[{{"type":"tool_use","id":"c","name":"f","input":{json}}}]}}"#)
            }),
            (Api::BedrockConverse, |json, _| {
                format!(
                    r#"{{"output":{{"message":{{"content":[{{"toolUse":{{"toolUseId":"c","name":"f","input":{json}}}}}]}}}}}}"#
                )
            }),
        ];
        for (api, whole) in wholes {
            let [before, after] = [said, hidden].map(|json| whole(json, &quoted(json)));
            for cut in [0, before.len() / 2] {
                let mut answer = Answer::new(api, "application/json", treatment());
                assert_eq!(passed(&mut answer, &before, cut).unwrap(), after, "{api:?}");
            }
        }
        type Piece = (Api, &'static str, fn(&str) -> String);
        let pieces: [Piece; 4] = [
            (Api::OpenaiChat, "/choices/0/delta/content", |text| {
                format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}}}}]}}\n\n")
            }),
            (Api::OpenaiChat, "/choices/0/delta/tool_calls/0/function/arguments", |text| {
                format!(
                    "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":{text}}}}}]}}}}]}}\n\n"
                )
            }),
            (Api::OpenaiResponses, "/delta", |text| {
                format!(
                    "event: response.function_call_arguments.delta\ndata: {{\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"sequence_number\":1,\"delta\":{text}}}\n\n"
                )
            }),
            (Api::AnthropicMessages, "/delta/partial_json", |text| {
                format!(
                    "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":{text}}}}}\n\n"
                )
            }),
        ];
        for (api, place, event) in pieces {
            for length in [1, 2, 3, 7, 29, said.len()] {
                let cut = said.as_bytes().chunks(length).map(|piece| std::str::from_utf8(piece).unwrap());
                let body: String = cut.map(|piece| event(&quoted(piece))).collect();
                let mut answer = Answer::new(api, "text/event-stream", treatment());
                let out = passed(&mut answer, &body, body.len() / 2).unwrap();
                let told: String = out
                    .lines()
                    .filter_map(|line| line.strip_prefix("data: "))
                    .filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok())
                    .filter_map(|data| data.pointer(place).and_then(|text| text.as_str()).map(str::to_owned))
                    .collect();
                assert_eq!(told, hidden, "{api:?} in pieces of {length}");
            }
        }
    }
}
