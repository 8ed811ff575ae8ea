//! OpenAI's older text completions, only so far that they pass through to vLLM: facts of the request, its texts, the
//! texts and usage of the answer. It is not translated; chat is what other providers speak.

use std::borrow::Cow;
use std::ops::Range;

use weir_wire::json::{self, Doc, Kind, Value};
use weir_wire::splice::Splices;

use crate::hub::{Invalid, Usage};
use crate::openai_chat::{
    self, AnswerFacts, AnswerText, Chunk, ChunkChoice, ChunkText, Place, Slot, Text, all_texts, fields,
    strings,
};

/// A request, borrowed from its document.
#[derive(Clone, Debug)]
pub struct Request<'d, 'a> {
    root: Value<'d, 'a>,
    /// The model as written; a non-empty string.
    pub model: Value<'d, 'a>,
    /// The model's name.
    pub model_name: Cow<'a, str>,
    /// The prompt as written.
    pub prompt: Value<'d, 'a>,
    /// What the prompt is.
    pub form: Prompt,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client wants the usage in the stream.
    pub include_usage: bool,
    /// `max_tokens` as written, `null` included.
    pub max_tokens: Option<Value<'d, 'a>>,
    /// Answers per prompt, at least 1.
    pub n: u64,
    /// Candidates generated and billed per prompt, at least `n`.
    pub best_of: u64,
    /// Whether the prompt is repeated in the answer.
    pub echo: bool,
}

/// The forms that a prompt can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// One text.
    Text,
    /// So many texts, answered one by one.
    Texts(u64),
    /// One text of so many tokens, as the model's own ids: nothing in it can be read, searched or redacted.
    Tokens(u64),
    /// Several such texts: how many, and tokens in all.
    TokenLists(u64, u64),
}

impl Prompt {
    /// Number of prompts.
    pub fn count(self) -> u64 {
        match self {
            Prompt::Text | Prompt::Tokens(_) => 1,
            Prompt::Texts(count) | Prompt::TokenLists(count, _) => count,
        }
    }

    /// Prompt tokens where the client sent token ids.
    pub fn tokens(self) -> Option<u64> {
        match self {
            Prompt::Text | Prompt::Texts(_) => None,
            Prompt::Tokens(tokens) | Prompt::TokenLists(_, tokens) => Some(tokens),
        }
    }
}

/// Reads the facts.
pub fn read<'d, 'a>(doc: &'d Doc<'a>) -> Result<Request<'d, 'a>, Invalid> {
    read_of(doc, "prompt")
}

/// [`read`] of a request whose prompt is called `input`, say.
pub(crate) fn read_of<'d, 'a>(doc: &'d Doc<'a>, name: &'static str) -> Result<Request<'d, 'a>, Invalid> {
    let root = doc.root();
    if root.kind() != Kind::Object {
        return Err(Invalid::value("", "the request body must be a JSON object"));
    }
    let model = root.get("model").ok_or_else(|| Invalid::missing("model"))?;
    let model_name = openai_chat::model_name(model)?;
    let prompt = root.get(name).ok_or_else(|| Invalid::missing(name))?;
    let form = form(prompt, name)?;
    let counted = |key: &str| root.get(key).map_or(Ok(None), |value| fields::count(value, key));
    let n = counted("n")?.unwrap_or(1);
    if n == 0 {
        return Err(Invalid::value("n", "'n' must be at least 1"));
    }
    let best_of = counted("best_of")?.unwrap_or(n).max(n);
    counted("max_tokens")?;
    let flag = |holder: Option<Value<'_, '_>>, key: &str, path: &str| {
        holder.and_then(|holder| holder.get(key)).map_or(Ok(false), |value| fields::bool(value, path))
    };
    let stream = flag(Some(root), "stream", "stream")?;
    let options = root.get("stream_options");
    let include_usage = flag(options, "include_usage", "stream_options.include_usage")?;
    let echo = flag(Some(root), "echo", "echo")?;
    let max_tokens = root.get("max_tokens");
    Ok(Request { root, model, model_name, prompt, form, stream, include_usage, max_tokens, n, best_of, echo })
}

fn form(prompt: Value<'_, '_>, name: &str) -> Result<Prompt, Invalid> {
    let bad =
        || Invalid::value(name, &["'", name, "' must be a text, texts, token ids or lists of them"].concat());
    let count = prompt.len() as u64;
    let all = |kind: Kind| prompt.items().all(|item| item.kind() == kind);
    match prompt.kind() {
        Kind::String => Ok(Prompt::Text),
        Kind::Array if prompt.is_empty() => Err(bad()),
        Kind::Array if all(Kind::String) => Ok(Prompt::Texts(count)),
        Kind::Array if all(Kind::Number) => Ok(Prompt::Tokens(count)),
        Kind::Array if all(Kind::Array) => {
            let lists = prompt.items();
            let tokens = lists.fold(0, |sum: u64, list| sum.saturating_add(list.len() as u64));
            Ok(Prompt::TokenLists(count, tokens))
        }
        _ => Err(bad()),
    }
}

impl Request<'_, '_> {
    /// Most tokens that one answer may have. The API's own default is 16.
    pub fn ceiling(&self) -> Option<u64> {
        self.max_tokens.and_then(Value::as_u64)
    }

    /// Writes another model name.
    pub fn set_model(&self, name: &str, edits: &mut Splices) {
        let mut out = json::Writer::new(Vec::with_capacity(name.len() + 2));
        out.str(name);
        edits.replace(self.model.range(), &out.into_inner());
    }

    /// Makes `tokens` the most that an answer may have.
    pub fn set_ceiling(&self, tokens: u64, edits: &mut Splices) {
        match self.max_tokens {
            Some(value) if value.as_u64().is_some_and(|asked| asked <= tokens) => {}
            Some(value) => edits.replace(value.range(), tokens.to_string().as_bytes()),
            None => openai_chat::append(self.root, &format!("\"max_tokens\":{tokens}"), edits),
        }
    }

    /// Makes the provider report usage in the stream.
    pub fn set_include_usage(&self, edits: &mut Splices) {
        if !self.include_usage {
            openai_chat::include_usage(self.root, edits);
        }
    }
}

/// Shows each text of a prompt, or of what is to be embedded, and of all else in the request to `sink`.
pub fn texts<'d, 'a>(doc: &'d Doc<'a>, sink: &mut dyn FnMut(Text<'d, 'a>)) {
    for (key, value) in doc.root().members() {
        by_name!(key => {
            "model" | "encoding_format" => {},
            "prompt" | "input" => {
                strings(value, &mut |value| all_texts(value, Place::Other, None, sink));
            },
            _ => all_texts(value, Place::Other, None, sink),
        })
    }
}

/// Tokens of all prompts: `count` is given each text once; token ids count as they are.
pub fn prompt_tokens(request: &Request<'_, '_>, count: &mut dyn FnMut(&str) -> u64) -> u64 {
    if let Some(tokens) = request.form.tokens() {
        return tokens;
    }
    let mut tokens = 0u64;
    strings(request.prompt, &mut |text| {
        if let Some(text) = text.as_str() {
            tokens = tokens.saturating_add(count(&text));
        }
    });
    tokens
}

/// An upper bound of the prompt's tokens for any byte-level tokenizer: the bytes as sent, and 16 per prompt.
pub fn byte_bound(request: &Request<'_, '_>) -> u64 {
    let bytes = request.form.tokens().unwrap_or(request.prompt.range().len() as u64);
    bytes.saturating_add(request.form.count().saturating_mul(16))
}

/// Reads one `data:` payload of a stream; see [`openai_chat::read_chunk_into`].
pub fn read_chunk_into(payload: &[u8], chunk: &mut Chunk) -> Result<(), json::Error> {
    openai_chat::read_with(payload, chunk, choice)
}

fn choice(value: Value<'_, '_>, chunk: &mut Chunk) {
    let mut choice = ChunkChoice {
        index: 0,
        delta: value.range(),
        delta_is_empty: value.is_empty(),
        finish: None,
        finish_value: None,
    };
    let mut text: Option<Range<usize>> = None;
    for (key, value) in value.members() {
        if key.is("text") && value.kind() == Kind::String {
            text = Some(value.range());
        } else {
            openai_chat::end_of(key, value, &mut choice);
        }
    }
    if let Some(value) = text {
        chunk.texts.push(ChunkText { choice: choice.index, slot: Slot::Content, value });
    }
    chunk.choices.push(choice);
}

/// Reads the facts of a whole answer.
pub fn read_answer<'d, 'a>(doc: &'d Doc<'a>) -> AnswerFacts<'d, 'a> {
    let mut facts = openai_chat::read_answer(doc);
    for answer in doc.root().list("choices") {
        if let Some(value) = answer.get("text").filter(|text| text.kind() == Kind::String) {
            let choice = fields::index(answer, "index");
            facts.texts.push(AnswerText { choice, slot: Slot::Content, value });
        }
    }
    facts
}

/// The usage of a whole answer.
pub fn usage(doc: &Doc<'_>) -> Option<Usage> {
    doc.root().get("usage").and_then(openai_chat::read_usage)
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    #[test]
    fn every_form_of_prompt_is_told() {
        for (prompt, form, tokens) in [
            (r#""a b""#, Prompt::Text, 2),
            (r#"["a","b c"]"#, Prompt::Texts(2), 3),
            ("[1,2,3]", Prompt::Tokens(3), 3),
            ("[[1,2],[3]]", Prompt::TokenLists(2, 3), 3),
        ] {
            let body = format!(r#"{{"model":"m","prompt":{prompt},"n":2}}"#);
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            let request = read(&doc).unwrap();
            assert_eq!((request.form, request.n, request.best_of), (form, 2, 2));
            assert_eq!(prompt_tokens(&request, &mut |text| text.split(' ').count() as u64), tokens);
            assert!(byte_bound(&request) >= tokens);
        }
        for prompt in ["null", "{}", "[]", "[1,\"a\"]", "[{}]", "7"] {
            let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(read(&doc).unwrap_err().param, "prompt", "{prompt}");
        }
    }

    #[test]
    fn answers_and_chunks_show_their_texts() {
        let body = br#"{"id":"i","choices":[{"index":1,"text":"hello","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
        let mut chunk = Chunk::default();
        read_chunk_into(body, &mut chunk).unwrap();
        assert_eq!(&body[chunk.texts[0].value.clone()], b"\"hello\"");
        assert_eq!((chunk.texts[0].choice, chunk.usage.unwrap().input), (1, 1));
        let doc = parse(body, &Limits::default()).unwrap();
        let facts = read_answer(&doc);
        assert_eq!(facts.texts[0].value.as_str().unwrap(), "hello");
        assert_eq!((facts.finishes.len(), facts.usage.unwrap().output), (1, 1));
    }

    #[test]
    fn edits_go_together() {
        let body = r#"{"model":"m","prompt":"p"}"#;
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        let mut edits = Splices::new();
        let request = read(&doc).unwrap();
        request.set_model("x", &mut edits);
        request.set_ceiling(5, &mut edits);
        request.set_include_usage(&mut edits);
        assert_eq!(
            String::from_utf8(edits.apply(body.as_bytes()).unwrap()).unwrap(),
            r#"{"model":"x","prompt":"p","max_tokens":5,"stream_options":{"include_usage":true}}"#
        );
    }
}
