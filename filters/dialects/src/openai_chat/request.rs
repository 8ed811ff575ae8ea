//! The facts of a request that decide its way, read in one walk over the tape without unescaping any text, and the
//! edits that a gateway makes to it. Nothing here judges whether a provider would accept the request: only what
//! Weir itself must understand is checked.

use std::borrow::Cow;

use weir_wire::json::{Doc, Kind, Value, Writer};
use weir_wire::splice::Splices;

use super::fields;
use crate::hub::{Chat, Invalid};
use crate::media;

/// What a request contains, for routing and for what counting cannot see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Has {
    /// `tools` or `functions` are offered.
    pub tools: bool,
    /// An earlier turn calls a tool or holds its result.
    pub tool_history: bool,
    /// The answer must be JSON of a schema.
    pub json_schema: bool,
    /// The answer must be any JSON object.
    pub json_object: bool,
    /// Pictures.
    pub images: bool,
    /// Sound, in or out.
    pub audio: bool,
    /// Films.
    pub video: bool,
    /// Files.
    pub documents: bool,
    /// Content that only the provider can fetch: an `http(s)` picture, a `file_id`. Its size is unknown here.
    pub remote: bool,
    /// `logprobs` are asked for.
    pub logprobs: bool,
    /// A predicted answer, which is billed beside the real one.
    pub prediction: bool,
    /// The client marks what the provider may cache.
    pub cache_points: bool,
    /// A guardrail of Bedrock's is asked for: nobody else has it.
    pub guardrail: bool,
    /// Tools that the provider runs itself, as often as it likes.
    pub hosted: bool,
    /// What the conversation begins with is kept by the provider and not seen here.
    pub stored: bool,
}

impl Has {
    /// Notes the form that the answer must have.
    #[inline(never)]
    pub(crate) fn format(&mut self, format: Option<Value<'_, '_>>) {
        let is = |word: &str| format.is_some_and(|format| fields::is(format, "type", word));
        self.json_schema = is("json_schema");
        self.json_object = is("json_object");
    }
}

/// A request, borrowed from its document.
#[derive(Clone, Debug)]
pub struct Request<'d, 'a> {
    root: Value<'d, 'a>,
    /// The model as written; a non-empty string.
    pub model: Value<'d, 'a>,
    /// The model's name.
    pub model_name: Cow<'a, str>,
    /// The array of messages; each is an object.
    pub messages: Value<'d, 'a>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// `stream_options` where it is an object.
    pub stream_options: Option<Value<'d, 'a>>,
    /// Whether the client wants the usage in the stream.
    pub include_usage: bool,
    /// `max_completion_tokens` as written, `null` included.
    pub max_completion_tokens: Option<Value<'d, 'a>>,
    /// `max_tokens` as written, `null` included.
    pub max_tokens: Option<Value<'d, 'a>>,
    /// The field that a ceiling is written into where the request has none.
    pub(crate) ceiling_name: &'static str,
    /// Number of answers, at least 1.
    pub n: u64,
    /// What it contains.
    pub has: Has,
    /// `temperature`
    pub temperature: Option<f64>,
    /// `top_p`
    pub top_p: Option<f64>,
    /// `top_k`
    pub top_k: Option<f64>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`
    pub presence_penalty: Option<f64>,
    /// `seed`
    pub seed: Option<i64>,
    /// `stop` as written: a string or an array of them.
    pub stop: Option<Value<'d, 'a>>,
    /// `reasoning_effort`
    pub reasoning_effort: Option<Value<'d, 'a>>,
    /// `service_tier`
    pub service_tier: Option<Value<'d, 'a>>,
    /// `user`
    pub user: Option<Value<'d, 'a>>,
    /// The member in which Converse has its settings, and what stands there.
    pub settings: Option<(&'static str, Option<Value<'d, 'a>>)>,
    /// Its dialect is not known: no ceiling can be added.
    pub fixed: bool,
}

/// Reads the facts. Errors name the field, as OpenAI's do.
pub fn read<'d, 'a>(doc: &'d Doc<'a>) -> Result<Request<'d, 'a>, Invalid> {
    Request::read_by(doc.root(), &mut members)
}

fn members<'d, 'a>(root: Value<'d, 'a>, found: &mut Request<'d, 'a>) -> Result<(), Invalid> {
    let (mut model, mut messages) = (None, None);
    for (key, value) in root.members() {
        by_name!(key => {
            "model" => model = Some(value),
            "messages" => messages = Some(value),
            "stream" => found.stream = fields::bool(value, "stream")?,
            "stream_options" if value.kind() == Kind::Object => {
                found.stream_options = Some(value);
                if let Some(wanted) = value.get("include_usage") {
                    found.include_usage = fields::bool(wanted, "stream_options.include_usage")?;
                }
            },
            "max_completion_tokens" => {
                fields::countable(value, "max_completion_tokens")?;
                found.max_completion_tokens = Some(value);
            },
            "max_tokens" => {
                fields::countable(value, "max_tokens")?;
                found.max_tokens = Some(value);
            },
            "n" => {
                found.n = fields::count(value, "n")?.unwrap_or(1);
                if found.n == 0 {
                    return Err(Invalid::value("n", "'n' must be at least 1"));
                }
            },
            "tools" | "functions" => found.has.tools |= !value.is_empty(),
            "response_format" => found.has.format(Some(value)),
            "modalities" => found.has.audio |= value.items().any(|one| one.is_str("audio")),
            "logprobs" => found.has.logprobs = value.as_bool() == Some(true),
            "prediction" => found.has.prediction = !value.is_null(),
            "temperature" => found.temperature = value.as_f64(),
            "top_p" => found.top_p = value.as_f64(),
            "top_k" => found.top_k = value.as_f64(),
            "frequency_penalty" => found.frequency_penalty = value.as_f64(),
            "presence_penalty" => found.presence_penalty = value.as_f64(),
            "seed" => found.seed = value.as_i64(),
            "stop" if !value.is_null() => found.stop = Some(value),
            "reasoning_effort" => found.reasoning_effort = string(value),
            "service_tier" => found.service_tier = string(value),
            "user" => found.user = string(value),
            _ => {},
        })
    }
    found.filled(model, messages)?;
    for message in found.messages.items() {
        look_at(message, &mut found.has);
    }
    found.has.cache_points |= root.list("tools").any(|tool| fields::cache_control(tool).is_some());
    Ok(())
}

pub(crate) fn string<'d, 'a>(value: Value<'d, 'a>) -> Option<Value<'d, 'a>> {
    (value.kind() == Kind::String).then_some(value)
}

/// Notes what one message contains.
fn look_at(message: Value<'_, '_>, has: &mut Has) {
    for (key, value) in message.members() {
        by_name!(key => {
            "content" => value.items().for_each(|part| look_at_part(part, has)),
            "tool_calls" | "function_call" => has.tool_history |= !fields::is_nothing(value),
            "role" => has.tool_history |= value.is_str("tool") || value.is_str("function"),
            "audio" => has.audio |= !value.is_null(),
            _ => {},
        })
    }
}

#[inline(never)]
pub(crate) fn look_at_part(part: Value<'_, '_>, has: &mut Has) {
    has.cache_points |= fields::cache_control(part).is_some();
    let is_remote = |key: &str| {
        let holder = part.get(key);
        let url = holder.and_then(|holder| holder.get("url")).or(holder);
        url.and_then(Value::str_raw).is_some_and(|url| !media::is_data_uri(url))
    };
    by_name!(part.get("type") => {
        "image_url" | "input_image" => {
            has.images = true;
            has.remote |= is_remote("image_url") || fields::some(part, "file_id").is_some();
        },
        "input_audio" => has.audio = true,
        "audio_url" => {
            has.audio = true;
            has.remote |= is_remote("audio_url");
        },
        "video_url" => {
            has.video = true;
            has.remote |= is_remote("video_url");
        },
        "file" | "input_file" => {
            has.documents = true;
            has.remote |= part.get("file").unwrap_or(part).get("file_data").is_none();
        },
        _ => {},
    })
}

impl<'d, 'a> Request<'d, 'a> {
    /// What `read` finds in a body, which is an object.
    #[inline(never)]
    pub(crate) fn read_by(
        root: Value<'d, 'a>,
        read: &mut dyn FnMut(Value<'d, 'a>, &mut Self) -> Result<(), Invalid>,
    ) -> Result<Self, Invalid> {
        if root.kind() != Kind::Object {
            return Err(Invalid::value("", "the request body must be a JSON object"));
        }
        let mut found = Request {
            root,
            model: root,
            model_name: Cow::Borrowed(""),
            messages: root,
            stream: false,
            stream_options: None,
            include_usage: false,
            max_completion_tokens: None,
            max_tokens: None,
            ceiling_name: "max_completion_tokens",
            n: 1,
            has: Has::default(),
            temperature: None,
            top_p: None,
            top_k: None,
            frequency_penalty: None,
            presence_penalty: None,
            seed: None,
            stop: None,
            reasoning_effort: None,
            service_tier: None,
            user: None,
            settings: None,
            fixed: false,
        };
        read(root, &mut found)?;
        Ok(found)
    }

    /// Takes what every dialect demands.
    #[inline(never)]
    pub(crate) fn filled(
        &mut self,
        model: Option<Value<'d, 'a>>,
        messages: Option<Value<'d, 'a>>,
    ) -> Result<(), Invalid> {
        self.named(model)?;
        self.with_messages(messages)
    }

    /// Takes the messages.
    #[inline(never)]
    pub(crate) fn with_messages(&mut self, messages: Option<Value<'d, 'a>>) -> Result<(), Invalid> {
        let Some(messages) = messages else { return Err(Invalid::missing("messages")) };
        if messages.kind() != Kind::Array || messages.is_empty() {
            return Err(Invalid::value("messages", "'messages' must be a non-empty array"));
        }
        if let Some(at) = no_object(messages) {
            return Err(Invalid::value(&fields::item("messages", at), "a message must be an object"));
        }
        self.messages = messages;
        Ok(())
    }

    /// Takes the model's name.
    #[inline(never)]
    pub(crate) fn named(&mut self, model: Option<Value<'d, 'a>>) -> Result<(), Invalid> {
        self.model = model.ok_or_else(|| Invalid::missing("model"))?;
        self.model_name = model_name(self.model)?;
        Ok(())
    }

    /// A chat that has what is known of the request.
    #[inline(never)]
    pub(crate) fn chat(self) -> Chat {
        let max_output = self.ceiling();
        let mut chat = Chat::of(self.model_name.into_owned(), self.stream, self.include_usage);
        chat.max_output = max_output;
        chat
    }
}

/// The first item of an array that is no object.
#[inline(never)]
pub(crate) fn no_object(list: Value<'_, '_>) -> Option<usize> {
    list.items().position(|item| item.kind() != Kind::Object)
}

/// The name of a model, which must be a text.
#[inline(never)]
pub(crate) fn model_name<'a>(model: Value<'_, 'a>) -> Result<Cow<'a, str>, Invalid> {
    let name = model.as_str().filter(|name| !name.is_empty());
    name.ok_or_else(|| Invalid::value("model", "'model' must be a non-empty string"))
}

impl Request<'_, '_> {
    /// Most tokens that one answer may have, as asked; the larger where both fields are there, because which of
    /// them counts is the provider's choice.
    pub fn ceiling(&self) -> Option<u64> {
        let number = |value: Option<Value<'_, '_>>| value.and_then(Value::as_u64);
        number(self.max_completion_tokens).max(number(self.max_tokens))
    }

    /// Writes another model name.
    pub fn set_model(&self, name: &str, edits: &mut Splices) {
        let mut out = Writer::new(Vec::with_capacity(name.len() + 2));
        out.str(name);
        edits.replace(self.model.range(), &out.into_inner());
    }

    /// Makes `tokens` the most that an answer may have: every ceiling above it is lowered; where there is none,
    /// `max_completion_tokens` is added (vLLM and OpenAI both know it, OpenAI's newer models only it).
    pub fn set_ceiling(&self, tokens: u64, edits: &mut Splices) {
        let fields = [self.max_completion_tokens, self.max_tokens];
        // A null in one field does not matter where the other has a number.
        let mut there = fields.iter().flatten().any(|value| value.as_u64().is_some());
        for value in fields.into_iter().flatten() {
            let lower = match value.as_u64() {
                Some(asked) => asked > tokens,
                None => !there,
            };
            if lower {
                edits.replace(value.range(), tokens.to_string().as_bytes());
                there = true;
            }
        }
        if there || self.fixed {
            return;
        }
        match self.settings {
            None => self.append(&format!("\"{}\":{tokens}", self.ceiling_name), edits),
            // Null stands for nothing, and a second member of that name would be none.
            Some((_, Some(settings))) if settings.is_null() => {
                edits.replace(settings.range(), format!("{{\"maxTokens\":{tokens}}}").as_bytes());
            }
            Some((_, Some(settings))) => append(settings, &format!("\"maxTokens\":{tokens}"), edits),
            Some((name, None)) => self.append(&format!("\"{name}\":{{\"maxTokens\":{tokens}}}"), edits),
        }
    }

    /// Makes the provider report usage in the stream. Nothing to do where the client asked for it.
    pub fn set_include_usage(&self, edits: &mut Splices) {
        if !self.include_usage {
            include_usage(self.root, edits);
        }
    }

    fn append(&self, member: &str, edits: &mut Splices) {
        append(self.root, member, edits);
    }
}

/// Sets `stream_options.include_usage`, which text completions have too.
pub(crate) fn include_usage(root: Value<'_, '_>, edits: &mut Splices) {
    let options = root.get("stream_options");
    match options.filter(|options| options.kind() == Kind::Object) {
        Some(options) => match options.get("include_usage") {
            Some(value) => edits.replace(value.range(), b"true"),
            None => append(options, "\"include_usage\":true", edits),
        },
        // A `stream_options` of another kind, null for one, is replaced whole.
        None => match options {
            Some(other) => edits.replace(other.range(), b"{\"include_usage\":true}"),
            None => append(root, "\"stream_options\":{\"include_usage\":true}", edits),
        },
    }
}

/// Adds a member to an object, after its last.
pub(crate) fn append(object: Value<'_, '_>, member: &str, edits: &mut Splices) {
    if let Some((at, comma)) = object.append_at() {
        let member = if comma { format!(",{member}") } else { member.to_owned() };
        edits.replace(at..at, member.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;

    fn invalid(body: &str) -> Invalid {
        read(&parse(body.as_bytes(), &Limits::default()).unwrap()).unwrap_err()
    }

    fn edited(body: &str, edit: impl Fn(&Request<'_, '_>, &mut Splices)) -> String {
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        let mut edits = Splices::new();
        edit(&read(&doc).unwrap(), &mut edits);
        let out = edits.apply(body.as_bytes()).unwrap();
        parse(&out, &Limits::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_weir_must_understand_is_checked_and_named() {
        for (body, param, code) in [
            ("[]", "", "invalid_value"),
            ("{}", "model", "missing_required_parameter"),
            (r#"{"model":7,"messages":[{}]}"#, "model", "invalid_value"),
            (r#"{"model":"","messages":[{}]}"#, "model", "invalid_value"),
            (r#"{"model":null,"messages":[{}]}"#, "model", "invalid_value"),
            (r#"{"model":"m"}"#, "messages", "missing_required_parameter"),
            (r#"{"model":"m","messages":[]}"#, "messages", "invalid_value"),
            (r#"{"model":"m","messages":"hi"}"#, "messages", "invalid_value"),
            (r#"{"model":"m","messages":[{},3]}"#, "messages[1]", "invalid_value"),
            (r#"{"model":"m","messages":[{}],"stream":"yes"}"#, "stream", "invalid_value"),
            (r#"{"model":"m","messages":[{}],"n":0}"#, "n", "invalid_value"),
            (r#"{"model":"m","messages":[{}],"max_tokens":-1}"#, "max_tokens", "invalid_value"),
            (r#"{"model":"m","messages":[{}],"max_tokens":1.5}"#, "max_tokens", "invalid_value"),
        ] {
            let error = invalid(body);
            assert_eq!((error.param.as_str(), error.code), (param, code), "{body}");
        }
    }

    #[test]
    fn facts_are_read() {
        let body = r#"{"model":"m\u002d1","messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},
            {"type":"image_url","image_url":{"url":"https://x/y.png"}},{"type":"file","file":{"file_data":"data:;base64,AA"}}]},
            {"role":"tool","content":"x"}],"stream":true,"stream_options":{"include_usage":true},"n":2,"max_tokens":5,
            "max_completion_tokens":null,"tools":[{}],"response_format":{"type":"json_schema"},"temperature":0.5}"#;
        let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
        let read = read(&doc).unwrap();
        assert_eq!(read.model_name, "m-1");
        assert!(read.stream && read.include_usage);
        assert_eq!((read.n, read.ceiling(), read.temperature), (2, Some(5), Some(0.5)));
        assert_eq!(
            read.has,
            Has {
                tools: true,
                tool_history: true,
                json_schema: true,
                images: true,
                documents: true,
                remote: true,
                cache_points: true,
                ..Has::default()
            }
        );
    }

    #[test]
    fn edits_touch_only_their_bytes() {
        let model = |r: &Request<'_, '_>, e: &mut Splices| r.set_model("a\"b", e);
        assert_eq!(
            edited(r#"{"model": "m" ,"messages":[{}]}"#, model),
            r#"{"model": "a\"b" ,"messages":[{}]}"#
        );
        let ceiling = |r: &Request<'_, '_>, e: &mut Splices| r.set_ceiling(10, e);
        for (tail, edited_tail) in [
            ("", r#","max_completion_tokens":10"#),
            (r#","max_tokens":5"#, r#","max_tokens":5"#),
            (r#","max_tokens":50"#, r#","max_tokens":10"#),
            (r#","max_tokens":null"#, r#","max_tokens":10"#),
            (
                r#","max_tokens":99,"max_completion_tokens":11"#,
                r#","max_tokens":10,"max_completion_tokens":10"#,
            ),
            (
                r#","max_tokens":7,"max_completion_tokens":null"#,
                r#","max_tokens":7,"max_completion_tokens":null"#,
            ),
            (
                r#","max_tokens":null,"max_completion_tokens":null"#,
                r#","max_tokens":null,"max_completion_tokens":10"#,
            ),
            (
                r#","max_tokens":null,"max_completion_tokens":7"#,
                r#","max_tokens":null,"max_completion_tokens":7"#,
            ),
        ] {
            let body = |tail| format!(r#"{{"model":"m","messages":[{{}}]{tail}}}"#);
            assert_eq!(edited(&body(tail), ceiling), body(edited_tail));
        }
        let usage = |r: &Request<'_, '_>, e: &mut Splices| r.set_include_usage(e);
        for (tail, edited_tail) in [
            ("", r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{}"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{"a":1}"#, r#","stream_options":{"a":1,"include_usage":true}"#),
            (r#","stream_options":{"include_usage":false}"#, r#","stream_options":{"include_usage":true}"#),
            (r#","stream_options":{"include_usage":true}"#, r#","stream_options":{"include_usage":true}"#),
        ] {
            let body = |tail| format!(r#"{{"model":"m","messages":[{{}}]{tail}}}"#);
            assert_eq!(edited(&body(tail), usage), body(edited_tail));
        }
    }

    #[test]
    fn all_edits_go_together() {
        let body = r#"{"messages":[{}],"model":"m"}"#;
        let all = |r: &Request<'_, '_>, e: &mut Splices| {
            r.set_model("x", e);
            r.set_ceiling(9, e);
            r.set_include_usage(e);
        };
        assert_eq!(
            edited(body, all),
            r#"{"messages":[{}],"model":"x","max_completion_tokens":9,"stream_options":{"include_usage":true}}"#
        );
    }
}
