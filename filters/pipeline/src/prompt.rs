//! A request's body as Exchange judges it: read, searched for what must be hidden, counted, edited in place.
//!
//! The bytes that leave differ from the client's only by splices: redaction, the output ceiling, `include_usage`.
//! (The model's name is the attempt's, since each target has its own.)

use std::ops::Range;

use weir_dialects::openai_chat::Rules;
use weir_dialects::{
    anthropic, bedrock, openai_chat, openai_completions, openai_embeddings, openai_responses,
};
use weir_pii as pii;
use weir_pii::Document;
use weir_sorted::Gather;
use weir_tokens::Vocabulary;
use weir_wire::json::{self, Doc, Limits, Unescaped, Value};
use weir_wire::splice::Splices;

use crate::outside::{Finder, Part};
use crate::paths::{Api, Named};
use crate::refusal::Refusal;
use crate::search::{self, Search, may_be_document};
use crate::seen::{Hash, Seen};

/// A request of one of the client APIs.
pub enum Request<'d, 'a> {
    /// Chat completions.
    Chat(Box<openai_chat::Request<'d, 'a>>),
    /// Text completions.
    Text(openai_completions::Request<'d, 'a>),
}

/// Marks the hashes that values are looked up by among those that have a placeholder.
const PLACEHOLDERS: u64 = 1 << 60;

/// Characters of the shortest number that is searched: less are no value without a word beside them.
const NUMBER: usize = 8;

/// What counting a prompt gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tokens by the vocabulary and the dialect's rule.
    pub tokens: u64,
    /// Nothing in the prompt had to be estimated.
    pub exact: bool,
    /// Tokens of pictures among them.
    pub images: u64,
}

/// What redaction found and wants changed.
#[derive(Default)]
pub struct Redacted {
    /// Edits of the body.
    pub edits: Splices,
    /// Placeholders to be restored in the answer.
    pub vault: Option<pii::Vault>,
    /// Types found, sorted, each once.
    pub found: Vec<String>,
    /// Findings by type.
    pub counts: Vec<(String, u64)>,
}

/// Parses a body; a fault is named with its byte.
pub fn parse(body: &[u8]) -> Result<Doc<'_>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::request(400, "empty_body", "the request has no body: send a JSON object"));
    }
    json::parse(body, &Limits::default())
        .map_err(|e| Refusal::request(400, "invalid_json", format!("the body is not valid JSON: {e}")))
}

impl<'d, 'a> Request<'d, 'a> {
    /// Reads the request of an API; `named` is what its path says, where that is Bedrock's.
    pub fn read(api: Api, doc: &'d Doc<'a>, named: Option<&Named>) -> Result<Self, Refusal> {
        let named = named.map(|named| (named.model.as_str(), named.stream));
        let (model, stream) = named.unwrap_or_default();
        let read = match api {
            Api::OpenaiCompletions => openai_completions::read(doc).map(Self::Text),
            Api::OpenaiEmbeddings => openai_embeddings::read(doc).map(Self::Text),
            Api::OpenaiResponses => openai_responses::read(doc).map(|r| Self::Chat(Box::new(r))),
            Api::OpenaiChat | Api::Models => openai_chat::read(doc).map(|r| Self::Chat(Box::new(r))),
            Api::AnthropicMessages | Api::AnthropicCount | Api::BedrockInvoke => {
                anthropic::read_named(doc, api == Api::AnthropicCount, named).map(|r| Self::Chat(Box::new(r)))
            }
            Api::BedrockConverse => bedrock::read(doc, model, stream).map(|r| Self::Chat(Box::new(r))),
            Api::BedrockModel => bedrock::read_invoke(doc, model, stream).map(|r| Self::Chat(Box::new(r))),
        };
        read.map_err(|e| {
            let fault = e.into_fault();
            let out = Refusal::request(400, fault.code, fault.message);
            if fault.param.is_empty() { out } else { out.at(&fault.param) }
        })
    }

    /// The model's name as the client sent it.
    pub fn model(&self) -> &str {
        match self {
            Self::Chat(r) => &r.model_name,
            Self::Text(r) => &r.model_name,
        }
    }

    /// Byte range of the model's JSON value.
    pub fn model_at(&self) -> Range<usize> {
        match self {
            Self::Chat(r) => r.model.range(),
            Self::Text(r) => r.model.range(),
        }
    }

    /// A streamed answer is asked.
    pub fn stream(&self) -> bool {
        match self {
            Self::Chat(r) => r.stream,
            Self::Text(r) => r.stream,
        }
    }

    /// The client wants usage in the stream.
    pub fn include_usage(&self) -> bool {
        match self {
            Self::Chat(r) => r.include_usage,
            Self::Text(r) => r.include_usage,
        }
    }

    /// The client's own output ceiling.
    pub fn ceiling(&self) -> Option<u64> {
        match self {
            Self::Chat(r) => r.ceiling(),
            Self::Text(r) => r.ceiling(),
        }
    }

    /// Number of answers billed, at least 1.
    pub fn answers(&self) -> u64 {
        match self {
            Self::Chat(r) => r.n,
            Self::Text(r) => r.form.count().saturating_mul(r.n.max(r.best_of)),
        }
        .max(1)
    }

    /// Features that a target must support.
    pub fn needs(&self) -> Vec<&'static str> {
        let Self::Chat(r) = self else { return Vec::new() };
        let mut out = Vec::new();
        for (has, feature) in [
            (r.has.tools || r.has.tool_history, "tools"),
            (r.has.json_schema, "json_schema"),
            (r.has.images, "images"),
            (r.has.audio, "audio"),
            (r.has.documents, "documents"),
        ] {
            if has {
                out.push(feature);
            }
        }
        out
    }

    /// Content whose tokens cannot be seen from here: the context window is its bound.
    pub fn unbounded(&self) -> bool {
        match self {
            Self::Chat(r) => {
                r.has.remote
                    || r.has.images
                    || r.has.audio
                    || r.has.video
                    || r.has.documents
                    || r.has.prediction
                    || r.has.hosted
                    || r.has.stored
            }
            Self::Text(_) => false,
        }
    }

    /// Prompts in one request: each has a window of its own.
    pub fn prompts(&self) -> u64 {
        match self {
            Self::Chat(_) => 1,
            Self::Text(r) => r.form.count(),
        }
    }

    /// The field that lets the provider ask its model as often as it likes: no window bounds what that costs.
    pub fn hosted(&self) -> Option<&'static str> {
        match self {
            Self::Chat(r) if r.has.hosted => Some(if r.has.tools { "tools" } else { "reasoning" }),
            _ => None,
        }
    }

    /// The conversation begins where nobody here sees it.
    pub fn stored(&self) -> bool {
        matches!(self, Self::Chat(r) if r.has.stored)
    }

    /// The field that makes it so.
    pub fn unseen(&self) -> &'static str {
        match self {
            Self::Chat(r) if r.has.prediction => "prediction",
            Self::Chat(r) if r.has.stored => "previous_response_id",
            _ => "messages",
        }
    }

    /// Content that nothing here can size: the context window is its bound. Pictures have rules of their own.
    pub fn opaque(&self) -> bool {
        match self {
            Self::Chat(r) => {
                let has = &r.has;
                has.audio || has.video || has.documents || has.prediction || has.hosted || has.stored
            }
            Self::Text(_) => false,
        }
    }

    /// Only Bedrock can serve it: a guardrail of its, or a body in a model's own dialect.
    pub fn only_bedrock(&self) -> bool {
        matches!(self, Self::Chat(r) if r.has.guardrail || r.fixed)
    }

    /// No ceiling can be written into it, and it has none.
    pub fn unlimited(&self) -> bool {
        matches!(self, Self::Chat(r) if r.fixed && r.ceiling().is_none())
    }

    /// A count would be an estimate.
    pub fn inexact(&self) -> bool {
        match self {
            Self::Chat(r) => r.has.tools || r.has.tool_history || r.has.json_schema || r.has.images,
            Self::Text(_) => false,
        }
    }

    /// Tools are offered or were used.
    pub fn tools(&self) -> bool {
        match self {
            Self::Chat(r) => r.has.tools || r.has.tool_history,
            Self::Text(_) => false,
        }
    }

    /// Sets the output ceiling.
    pub fn set_ceiling(&self, tokens: u64, edits: &mut Splices) {
        match self {
            Self::Chat(r) => r.set_ceiling(tokens, edits),
            Self::Text(r) => r.set_ceiling(tokens, edits),
        }
    }

    /// Asks the provider for usage in the stream.
    pub fn set_include_usage(&self, edits: &mut Splices) {
        match self {
            Self::Chat(r) => r.set_include_usage(edits),
            Self::Text(r) => r.set_include_usage(edits),
        }
    }
}

/// A text that is searched.
struct Searched<'d, 'a> {
    value: Value<'d, 'a>,
    part: Part,
    /// The number of its message.
    message: Option<u32>,
}

/// Every text that is searched.
fn texts<'d, 'a>(api: Api, doc: &'d Doc<'a>) -> Vec<Searched<'d, 'a>> {
    let mut out = Vec::with_capacity(16);
    let mut placed = |text: openai_chat::Text<'d, 'a>| {
        let part = if text.place == openai_chat::Place::User { Part::Message } else { Part::Text };
        out.push(Searched { value: text.value, part, message: text.message });
    };
    match api {
        Api::OpenaiResponses => openai_responses::texts(doc, &mut placed),
        Api::OpenaiChat | Api::Models => openai_chat::texts(doc, &mut placed),
        Api::AnthropicMessages | Api::AnthropicCount | Api::BedrockInvoke => {
            anthropic::texts(doc, &mut placed)
        }
        Api::BedrockConverse => bedrock::texts(doc, &mut placed),
        Api::BedrockModel => bedrock::all(doc, &mut placed),
        Api::OpenaiCompletions | Api::OpenaiEmbeddings => openai_completions::texts(doc, &mut placed),
    }
    let word = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_' || *byte == b'$';
    let mut next = 0;
    let mut other = |value: Value<'d, 'a>, name| {
        let part = if name { Part::Name } else { Part::Text };
        // What a client calls things may be somebody's address, where it is no plain word.
        let searched = match name {
            true => !value.inner().bytes().all(|byte| word(&byte)),
            false => value.kind() == json::Kind::Number && value.range().len() >= NUMBER,
        };
        let start = value.range().start;
        // What is JSON is searched with all that is in it, and stands in the document's order.
        let past = |text: &Searched<'_, '_>| {
            text.value.kind() == json::Kind::String || text.value.range().end <= start
        };
        while out.get(next).is_some_and(past) {
            next += 1;
        }
        if searched && out.get(next).is_none_or(|text| start < text.value.range().start) {
            out.push(Searched { value, part, message: None });
        }
    };
    for (name, member) in doc.root().members() {
        other(name.value(), true);
        // Numbers of the body itself are the API's.
        if member.kind() != json::Kind::Number {
            member.scalars(&mut other);
        }
    }
    out
}

/// The body with the texts of its token ids in their place; `None` where it has none. What cannot be read cannot be
/// searched, and is refused.
pub fn decoded(
    request: &Request<'_, '_>,
    body: &[u8],
    vocabulary: &dyn Fn() -> Option<Vocabulary>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Request::Text(read) = request else { return Ok(None) };
    if read.form.tokens().is_none() {
        return Ok(None);
    }
    let vocabulary = vocabulary();
    let text = |ids: &Vec<u32>| String::from_utf8(weir_tokens::decode(vocabulary?, ids)?).ok();
    let lists = openai_embeddings::token_lists(read.prompt).unwrap_or_default();
    let texts: Vec<String> = lists.iter().map_while(text).gather();
    if texts.is_empty() || texts.len() < lists.len() {
        return Err(Refusal::request(
            400,
            "unreadable_tokens",
            "the policy searches what is sent, and these token ids cannot be read as text: send the text itself",
        ));
    }
    let mut out = json::Writer::new(Vec::with_capacity(read.prompt.raw().len()));
    match texts.as_slice() {
        [one] => _ = out.str(one),
        all => {
            out.begin_array();
            all.iter().for_each(|text| _ = out.str(text));
            out.end_array();
        }
    }
    let mut edits = Splices::new();
    edits.replace(read.prompt.range(), &out.into_inner());
    Ok(edits.apply(body).ok())
}

/// A text with findings.
struct Hit<'a> {
    /// Its number among all.
    at: usize,
    /// Which of all findings are its own.
    findings: Range<usize>,
    inside: Option<Box<Inside<'a>>>,
}

/// A text that is a document, or JSON of the body.
struct Inside<'a> {
    text: Unescaped<'a>,
    /// Its findings are those of their values, which stand here one after the other, where in the text they are, and what
    /// quotes that which takes their place.
    values: String,
    places: Vec<(Range<usize>, &'static str)>,
}

/// Searches every text that the client sent. A finding that blocks is a refusal that names its type, never its value.
/// `kept` says that the provider keeps the conversation: placeholders of its earlier turns are not known here, so that
/// none are given out.
pub fn redact(api: Api, doc: &Doc<'_>, finder: &mut Finder<'_>, kept: bool) -> Result<Redacted, Refusal> {
    let mut out = Redacted::default();
    let set = finder.set;
    let texts = texts(api, doc);
    // What the last message says is new, and a prompt is. The rest may have been searched when it was.
    let newest = texts.iter().map(|text| text.message).max().flatten();
    let mut blocked = None;
    let mut counts: Vec<(pii::Kind, u64)> = Vec::new();
    let (mut hits, mut findings): (Vec<Hit<'_>>, Vec<pii::Finding>) = (Vec::new(), Vec::new());
    for (at, Searched { value, part, message }) in texts.iter().enumerate() {
        let raw = value.inner();
        if !finder.may_find(raw) {
            continue;
        }
        let again = if *message == newest { None } else { finder.searched(*part, raw) };
        if again.is_some_and(|hash| finder.policy.seen.borrow_mut().has(hash)) {
            continue;
        }
        let first = findings.len();
        let mut inside = None;
        let json = value.kind() != json::Kind::String;
        if json || may_be_document(raw) {
            let part = if *part == Part::Message { Part::Text } else { *part };
            let apart = finder.asked != 0;
            let mut find = |document: &Document<'_>, out: &mut Vec<pii::Finding>| {
                finder.find(document, part, out);
            };
            let text = value.unescaped();
            let (mut values, mut places) = (String::new(), Vec::new());
            let mut found = |hit: search::Hit<'_>| {
                places.push((hit.range, hit.quote));
                findings.push(hit.finding.detached(hit.value, &mut values));
            };
            Search { find: &mut find, apart, level: u16::from(!json), found: &mut found }
                .text(&text.text, json);
            inside = Some(Box::new(Inside { text, values, places }));
        } else if !value.escaped() || !finder.find_written(*value, *part, &mut findings) {
            finder.find(&Document::text(&value.as_str().unwrap_or_default()), *part, &mut findings);
        }
        let found = findings.get_mut(first..).unwrap_or_default();
        if !found.is_empty() {
            hits.push(Hit { at, findings: first..first + found.len(), inside });
        } else if again.is_some() {
            finder.policy.seen.borrow_mut().put(again, 0);
        }
        for finding in found {
            if finding.action == pii::Action::Block {
                blocked.get_or_insert(finding.kind);
            }
            if kept && finding.action == pii::Action::Tokenize {
                finding.action = pii::Action::Mask;
            }
            match counts.iter_mut().find(|(kind, _)| *kind == finding.kind) {
                Some((_, n)) => *n += 1,
                None => counts.push((finding.kind, 1)),
            }
        }
    }
    if let Some(name) = blocked.map(pii::Kind::name) {
        return Err(Refusal::policy(
            "content_blocked",
            format!(
                "the request holds a value of type `{name}`, which the policy does not let through: remove it"
            ),
        ));
    }
    if hits.is_empty() {
        return Ok(out);
    }
    let mut vault = pii::Vault::keyed(finder.policy.seen.borrow().key(PLACEHOLDERS));
    if findings.iter().any(|finding| finding.action == pii::Action::Tokenize) {
        for (at, Searched { value, .. }) in texts.iter().enumerate() {
            // What a client typed that looks like a placeholder must not be restored to somebody's value.
            if value.range().len() >= pii::PLACEHOLDER {
                let hit = hits.binary_search_by_key(&at, |hit| hit.at).ok().and_then(|hit| hits.get(hit));
                match hit.and_then(|hit| hit.inside.as_deref()) {
                    Some(inside) => vault.reserve(&inside.text.text),
                    None => vault.reserve(&json::without_escapes(value.inner())),
                }
            }
        }
    }
    let mut with = String::new();
    for Hit { at, findings: own, inside } in &hits {
        let Some(Searched { value, .. }) = texts.get(*at) else { continue };
        let plain;
        let (text, values, places): (_, &str, &[_]) = match inside {
            Some(inside) => (&inside.text, &inside.values, &inside.places),
            None => {
                plain = value.unescaped();
                (&plain, &plain.text, &[])
            }
        };
        for (number, finding) in findings.get(own.clone()).unwrap_or_default().iter().enumerate() {
            let (place, quote) = match places.get(number) {
                Some((place, quote)) => (place, *quote),
                None => (&finding.range, ""),
            };
            with.clear();
            with.push_str(quote);
            if set.replacement(values, finding, &mut vault, &mut with) {
                with.push_str(quote);
                out.edits.replace(text.raw_range(place.clone()), with.as_bytes());
            }
        }
    }
    out.counts = counts.into_iter().map(|(kind, n)| (kind.name().to_owned(), n)).gather();
    weir_sorted::sort_by(&mut out.counts, Ord::cmp);
    out.found = out.counts.iter().map(|(name, _)| name.clone()).gather();
    out.vault = (!vault.is_empty()).then_some(vault);
    Ok(out)
}

/// [`count_by`] the default rules.
pub fn count(api: Api, doc: &Doc<'_>, vocabulary: Vocabulary, seen: &mut Seen) -> Counted {
    count_by(api, doc, vocabulary, &Rules::COOKBOOK, seen)
}

/// Counts a prompt by a model's rules; texts that were seen before are not counted again.
pub fn count_by(api: Api, doc: &Doc<'_>, vocabulary: Vocabulary, rules: &Rules, seen: &mut Seen) -> Counted {
    let salt = vocabulary.number();
    let mut tokens = |text: &str| seen.count(salt, text, |text| weir_tokens::count(vocabulary, text));
    match api {
        Api::OpenaiCompletions => {
            let Ok(request) = openai_completions::read(doc) else { return Counted::default() };
            let tokens = openai_completions::prompt_tokens(&request, &mut tokens);
            Counted { tokens, exact: true, images: 0 }
        }
        Api::OpenaiEmbeddings => {
            let Ok(request) = openai_embeddings::read(doc) else { return Counted::default() };
            let tokens = openai_completions::prompt_tokens(&request, &mut tokens);
            Counted { tokens, exact: true, images: 0 }
        }
        // What is shown to a model in a dialect of its own is not known here.
        Api::BedrockModel => Counted { tokens: byte_bound(api, doc), exact: false, images: 0 },
        Api::BedrockInvoke => {
            let body = bedrock::invoke::to_messages(doc, "m", false);
            let Ok(doc) = json::parse(&body, &Limits::default()) else { return Counted::default() };
            count_by(Api::AnthropicMessages, &doc, vocabulary, rules, seen)
        }
        Api::OpenaiChat
        | Api::OpenaiResponses
        | Api::Models
        | Api::AnthropicMessages
        | Api::AnthropicCount
        | Api::BedrockConverse => {
            let count = match api {
                Api::BedrockConverse => bedrock::prompt_tokens(doc, rules, &mut tokens),
                Api::OpenaiResponses => openai_responses::prompt_tokens(doc, rules, &mut tokens),
                _ if api.anthropic() => anthropic::prompt_tokens(doc, rules, &mut tokens),
                _ => openai_chat::prompt_tokens_of(doc, rules, &mut Remembered::new(vocabulary, seen)),
            };
            Counted { tokens: count.tokens, exact: count.exact, images: count.images }
        }
    }
}

/// Counts by a vocabulary what was not seen before.
struct Remembered<'s> {
    vocabulary: Vocabulary,
    seen: &'s mut Seen,
    /// What all messages are known by.
    all: Option<Hash>,
}

impl<'s> Remembered<'s> {
    fn new(vocabulary: Vocabulary, seen: &'s mut Seen) -> Self {
        Self { vocabulary, seen, all: None }
    }
}

impl openai_chat::Tokens for Remembered<'_> {
    fn text(&mut self, text: &str) -> u64 {
        let vocabulary = self.vocabulary;
        self.seen.count(vocabulary.number(), text, |text| weir_tokens::count(vocabulary, text))
    }

    fn value(&mut self, value: Value<'_, '_>) -> u64 {
        let vocabulary = self.vocabulary;
        self.seen.count_value(vocabulary.number(), value, |text| weir_tokens::count(vocabulary, text))
    }

    fn resume(&mut self, messages: Value<'_, '_>, rules: &Rules) -> (usize, u64) {
        let known = self.seen.resume(self.vocabulary.number(), rules, messages);
        self.all = known.all;
        (known.messages, known.tokens)
    }

    fn remember(&mut self, tokens: u64) {
        self.seen.put(self.all, tokens);
    }
}

/// Tokens of the pictures of a prompt at most, their sizes unread; `None` where the model's rule is not known.
pub fn images(api: Api, doc: &Doc<'_>, rules: &Rules) -> Option<u64> {
    let around = match api {
        Api::OpenaiResponses => openai_responses::images(doc),
        _ => openai_chat::overhead(doc),
    };
    if around.images == 0 && around.low_images == 0 {
        // Asked only where there are some: they stand in a form that is not read here.
        return None;
    }
    rules.known.then(|| around.image_bound(rules))
}

/// What a prompt cannot exceed, whatever the vocabulary.
pub fn byte_bound(api: Api, doc: &Doc<'_>) -> u64 {
    match api {
        Api::OpenaiCompletions => {
            openai_completions::read(doc).map_or(u64::MAX, |r| openai_completions::byte_bound(&r))
        }
        Api::OpenaiEmbeddings => {
            openai_embeddings::read(doc).map_or(u64::MAX, |r| openai_completions::byte_bound(&r))
        }
        Api::OpenaiResponses => openai_responses::byte_bound(doc),
        Api::OpenaiChat | Api::Models => openai_chat::byte_bound(doc),
        Api::AnthropicMessages | Api::AnthropicCount | Api::BedrockInvoke => anthropic::byte_bound(doc),
        Api::BedrockConverse => bedrock::byte_bound(doc),
        // A message has a few bytes that no model charges for, and a few tokens that no byte stands for.
        Api::BedrockModel => 2 * doc.root().raw().len() as u64,
    }
}
