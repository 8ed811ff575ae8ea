//! Makes a reply from a prompt: the same prompt and seed give the same reply. Independent of the dialect.
//!
//! A reply is text in pieces (each some tokens that end on a character boundary, as incremental
//! detokenisers emit them) or parallel tool calls whose arguments fit the tool's schema. Its token count is
//! the count of what it says; no end-of-sequence token is added.

use serde_json::{Map, Value, json};

use super::control::{Behaviour, ReplyKind};
use super::count::Encoding;
use super::rng::{Rng, hash};
use super::words;

/// What a reply depends on.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// All texts of the prompt, for the seed.
    pub prompt: String,
    /// Of the last message, when the user wrote it.
    pub last_user: Option<String>,
    pub tools: Vec<Tool>,
    pub choice: ToolChoice,
    /// At most one tool call.
    pub single_call: bool,
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    /// Said before tool calls, as some models do.
    pub lead_in: Option<String>,
    pub seed: u64,
}

#[derive(Clone, Debug)]
pub struct Tool {
    pub name: String,
    /// JSON Schema of the arguments.
    pub schema: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// Calls where the last message asks for it.
    #[default]
    Auto,
    None,
    Any,
    Named(String),
}

#[derive(Clone, Debug)]
pub struct Piece {
    pub text: String,
    pub tokens: u32,
}

#[derive(Clone, Debug)]
pub struct ToolCall {
    /// Letters and digits, without the provider's prefix.
    pub id: String,
    pub name: String,
    /// JSON text in pieces; the first one carries the tokens of the name too.
    pub arguments: Vec<Piece>,
}

impl ToolCall {
    pub fn arguments(&self) -> String {
        self.arguments.iter().map(|p| p.text.as_str()).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    Stop,
    /// At this stop string, which is not part of the text.
    StopString(String),
    Length,
    ToolCalls,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub pieces: Vec<Piece>,
    pub calls: Vec<ToolCall>,
    pub finish: Finish,
}

impl Reply {
    pub fn text(&self) -> String {
        self.pieces.iter().map(|p| p.text.as_str()).collect()
    }

    pub fn tokens(&self) -> u32 {
        let calls = self.calls.iter().flat_map(|c| &c.arguments);
        self.pieces.iter().chain(calls).map(|p| p.tokens).sum()
    }
}

/// A reply's text by its beginning, which tests order: `refusal: …` is a refusal, `<think>…</think>…` a thought and what
/// is said after it; anything else is only said.
#[derive(Clone, Debug)]
pub struct Said {
    pub thought: Option<Piece>,
    pub refused: bool,
    pub pieces: Vec<Piece>,
}

impl Reply {
    pub fn said(&self) -> Said {
        let text = self.text();
        let thought =
            text.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")).map(|(it, _)| it);
        let refused = text.starts_with("refusal: ");
        let mut skip = match thought {
            Some(thought) => "<think></think>".len() + thought.len(),
            None if refused => "refusal: ".len(),
            None => 0,
        };
        let (mut skipped, mut pieces) = (0, Vec::new());
        for piece in &self.pieces {
            let hidden = skip.min(piece.text.len());
            skip -= hidden;
            if hidden > 0 {
                skipped += piece.tokens;
            }
            if hidden < piece.text.len() || (hidden == 0 && piece.text.is_empty()) {
                let tokens = if hidden > 0 { 0 } else { piece.tokens };
                pieces.push(Piece { text: piece.text[hidden..].to_owned(), tokens });
            }
        }
        let thought = thought.map(|text| Piece { text: text.to_owned(), tokens: skipped });
        if let (None, Some(first)) = (&thought, pieces.first_mut()) {
            first.tokens += skipped;
        }
        Said { thought, refused, pieces }
    }
}

/// The reply to `ask`; `variant` tells several choices of one request apart.
pub fn make(ask: &Ask, behaviour: &Behaviour, encoding: Encoding, variant: u64) -> Reply {
    let mut rng = Rng::new(hash(ask.seed.wrapping_add(variant << 32), ask.prompt.as_bytes()));
    let most = behaviour.reasoning_tokens.unwrap_or(0);
    if most == 0 {
        return say(ask, behaviour, encoding, &mut rng);
    }
    let left = ask.max_tokens.unwrap_or(u32::MAX);
    let thought = (rng.below(most as usize + 1) as u32).min(left);
    let rest = Ask { max_tokens: Some(left - thought), ..ask.clone() };
    let mut reply = say(&rest, behaviour, encoding, &mut rng);
    // Generated and billed with the first thing that is said.
    if reply.pieces.is_empty() {
        reply.pieces.push(Piece { text: String::new(), tokens: 0 });
    }
    reply.pieces[0].tokens += thought;
    reply
}

fn say(ask: &Ask, behaviour: &Behaviour, encoding: Encoding, rng: &mut Rng) -> Reply {
    let kind = behaviour.reply.clone().unwrap_or_default();
    if wants_calls(ask, &kind) {
        return with_calls(ask, &kind, behaviour, encoding, rng);
    }
    let text = match kind {
        ReplyKind::Fixed(text) => text,
        ReplyKind::Echo => ask.last_user.clone().unwrap_or_else(|| ask.prompt.clone()),
        ReplyKind::Text | ReplyKind::Tools => pseudo(behaviour.reply_tokens, encoding, rng),
    };
    with_text(&text, ask, behaviour, encoding)
}

fn wants_calls(ask: &Ask, kind: &ReplyKind) -> bool {
    if ask.tools.is_empty() || matches!(kind, ReplyKind::Fixed(_)) {
        return false;
    }
    match ask.choice {
        ToolChoice::None => false,
        ToolChoice::Any | ToolChoice::Named(_) => true,
        ToolChoice::Auto => ask.last_user.as_ref().is_some_and(|text| {
            let lower = text.to_lowercase();
            let named = ask.tools.iter().any(|t| lower.contains(&t.name.to_lowercase()));
            *kind == ReplyKind::Tools || named || lower.contains("tool") || lower.contains("weather")
        }),
    }
}

/// Text of 24 to 88 tokens, or of exactly `wanted` ones.
fn pseudo(wanted: Option<u32>, encoding: Encoding, rng: &mut Rng) -> String {
    let target = wanted.unwrap_or_else(|| rng.between(24, 88) as u32) as usize;
    let mut text = String::new();
    words::sentences(&mut text, target * 4, 6, rng);
    let mut ids = encoding.encode(&text);
    while ids.len() < target {
        let more = text.len() + (target - ids.len()) * 4;
        words::sentences(&mut text, more, 6, rng);
        ids = encoding.encode(&text);
    }
    // The longest prefix of whole characters that counts as the target, or the next below it.
    for length in (0..=target.min(ids.len())).rev() {
        let bytes: Vec<u8> = ids[..length].iter().flat_map(|id| encoding.bytes(*id)).collect();
        if let Ok(prefix) = String::from_utf8(bytes)
            && encoding.count(&prefix) as usize == length
        {
            return prefix;
        }
    }
    String::new()
}

fn with_text(text: &str, ask: &Ask, behaviour: &Behaviour, encoding: Encoding) -> Reply {
    let mut finish = Finish::Stop;
    let mut text = text;
    let stop = ask.stop.iter().filter(|s| !s.is_empty()).filter_map(|s| Some((text.find(s.as_str())?, s)));
    if let Some((at, found)) = stop.min_by_key(|(at, _)| *at) {
        text = &text[..at];
        finish = Finish::StopString(found.clone());
    }
    let mut ids = encoding.encode(text);
    if let Some(limit) = ask.max_tokens.map(|m| m as usize)
        && limit < ids.len()
    {
        ids.truncate(limit);
        finish = Finish::Length;
    }
    let per_event = behaviour.tokens_per_event.unwrap_or(1).max(1);
    Reply { pieces: pieces(&ids, per_event, encoding), calls: Vec::new(), finish }
}

/// Groups tokens into pieces of at least `per_event` tokens that end on a character boundary.
fn pieces(ids: &[u32], per_event: u32, encoding: Encoding) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut held, mut tokens) = (Vec::new(), 0);
    for id in ids {
        held.extend(encoding.bytes(*id));
        tokens += 1;
        if tokens >= per_event
            && let Ok(text) = std::str::from_utf8(&held)
        {
            pieces.push(Piece { text: text.to_owned(), tokens });
            held.clear();
            tokens = 0;
        }
    }
    if tokens > 0 {
        // Cut by the limit inside a character: what is whole goes out, the rest was generated and is billed.
        let whole = match std::str::from_utf8(&held) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&held[..error.valid_up_to()]).unwrap_or_default(),
        };
        pieces.push(Piece { text: whole.to_owned(), tokens });
    }
    pieces
}

fn with_calls(
    ask: &Ask,
    kind: &ReplyKind,
    behaviour: &Behaviour,
    encoding: Encoding,
    rng: &mut Rng,
) -> Reply {
    let chosen: Vec<&Tool> = match &ask.choice {
        ToolChoice::Named(name) => ask.tools.iter().filter(|t| t.name == *name).collect(),
        _ => ask.tools.iter().collect(),
    };
    let count = if ask.single_call { 1 } else { 2 };
    let per_event = behaviour.tokens_per_event.unwrap_or(1).max(1);
    let mut left = ask.max_tokens.unwrap_or(u32::MAX);
    let mut finish = Finish::ToolCalls;
    let mut calls = Vec::new();
    let mut said = ask.lead_in.as_deref().map(|text| encoding.encode(text)).unwrap_or_default();
    said.truncate(left as usize);
    left -= said.len() as u32;
    let lead = pieces(&said, per_event, encoding);
    for at in 0..if chosen.is_empty() { 0 } else { count } {
        let tool = chosen[at % chosen.len()];
        let said = if *kind == ReplyKind::Echo { ask.last_user.as_deref() } else { None };
        let arguments = fit(&tool.schema, said, 0, rng).to_string();
        let name_tokens = encoding.count(&tool.name);
        let mut ids = encoding.encode(&arguments);
        let room = left.saturating_sub(name_tokens) as usize;
        if ids.len() > room {
            ids.truncate(room);
            finish = Finish::Length;
        }
        let mut arguments = pieces(&ids, per_event, encoding);
        if arguments.is_empty() {
            arguments.push(Piece { text: String::new(), tokens: 0 });
        }
        arguments[0].tokens += name_tokens.min(left);
        left = left.saturating_sub(arguments.iter().map(|p| p.tokens).sum());
        calls.push(ToolCall { id: rng.id(22), name: tool.name.clone(), arguments });
        if finish == Finish::Length {
            break;
        }
    }
    Reply { pieces: lead, calls, finish }
}

/// A value that fits a schema (objects, arrays, strings, numbers, booleans, enums); `said` becomes every
/// free string.
fn fit(schema: &Value, said: Option<&str>, depth: usize, rng: &mut Rng) -> Value {
    if let Some(options) = schema["enum"].as_array().filter(|o| !o.is_empty()) {
        return options[rng.below(options.len())].clone();
    }
    let kind = schema["type"].as_str().unwrap_or("object");
    match kind {
        "string" => match said {
            Some(text) => json!(text),
            None => json!(format!("{} {}", words::word(rng, 2), words::word(rng, 3))),
        },
        "integer" => json!(rng.below(1000)),
        "number" => json!(rng.below(1000) as f64 / 8.0),
        "boolean" => json!(rng.below(2) == 1),
        "null" => Value::Null,
        "array" if depth < 8 => Value::Array(
            (0..rng.between(1, 2)).map(|_| fit(&schema["items"], said, depth + 1, rng)).collect(),
        ),
        "object" if depth < 8 => {
            let mut object = Map::new();
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                object.insert(name.clone(), fit(inner, said, depth + 1, rng));
            }
            Value::Object(object)
        }
        "array" => json!([]),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODING: Encoding = Encoding::O200kBase;

    fn ask(prompt: &str) -> Ask {
        Ask { prompt: prompt.to_owned(), last_user: Some(prompt.to_owned()), ..Ask::default() }
    }

    #[test]
    fn the_same_prompt_gives_the_same_reply_and_another_prompt_another() {
        let quiet = Behaviour::default();
        let reply = |p: &str| make(&ask(p), &quiet, ENCODING, 0).text();
        assert_eq!(reply("one"), reply("one"));
        assert_ne!(reply("one"), reply("two"));
        assert_ne!(reply("one"), make(&ask("one"), &quiet, ENCODING, 1).text());
    }

    #[test]
    fn billed_tokens_are_the_count_of_the_text() {
        for seed in 0..200 {
            let reply = make(&ask(&format!("prompt {seed}")), &Behaviour::default(), ENCODING, 0);
            assert_eq!(reply.tokens(), ENCODING.count(&reply.text()), "{}", reply.text());
            assert!(reply.tokens() > 10);
        }
    }

    #[test]
    fn a_limit_is_kept_and_named() {
        for limit in 1..40 {
            let limited = Ask { max_tokens: Some(limit), ..ask("long") };
            let long = Behaviour { reply_tokens: Some(60), ..Behaviour::default() };
            let reply = make(&limited, &long, ENCODING, 0);
            assert_eq!((reply.tokens(), reply.finish), (limit, Finish::Length));
        }
    }

    #[test]
    fn thoughts_are_billed_within_the_limit_and_never_said() {
        let thinks = Behaviour { reasoning_tokens: Some(30), ..Behaviour::default() };
        let mut thought = 0;
        for seed in 0..50 {
            let limited = Ask { max_tokens: Some(40), ..ask(&format!("prompt {seed}")) };
            let reply = make(&limited, &thinks, ENCODING, 0);
            assert!(reply.tokens() <= 40);
            let said = ENCODING.count(&reply.text());
            assert!(reply.tokens() >= said && reply.tokens() - said <= 30, "{} {said}", reply.tokens());
            thought += reply.tokens() - said;
            let none = Ask { max_tokens: Some(1), ..limited };
            assert!(make(&none, &thinks, ENCODING, 0).tokens() <= 1);
        }
        assert!(thought > 300, "{thought}");
    }

    #[test]
    fn a_stop_string_ends_the_text_before_itself() {
        let fixed =
            Behaviour { reply: Some(ReplyKind::Fixed("one two END three".into())), ..Default::default() };
        let stopped = Ask { stop: vec!["three".into(), "END".into()], ..ask("x") };
        let reply = make(&stopped, &fixed, ENCODING, 0);
        assert_eq!(reply.text(), "one two ");
        assert_eq!(reply.finish, Finish::StopString("END".into()));
    }

    #[test]
    fn an_echo_repeats_the_last_user_text_with_every_character_whole() {
        let text = "Mail ana@example.org, 👩‍👩‍👧 at 川の流れ";
        let reply = make(&ask(text), &Behaviour::echo(), ENCODING, 0);
        assert_eq!(reply.text(), text);
        assert!(reply.pieces.len() > 5);
    }

    #[test]
    fn two_parallel_calls_whose_arguments_fit_the_schema() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string", "enum": ["C", "F"]}}});
        let tool = Tool { name: "get_weather".into(), schema };
        let asked = Ask { tools: vec![tool], ..ask("What is the weather?") };
        let reply = make(&asked, &Behaviour::default(), ENCODING, 0);
        assert_eq!((reply.calls.len(), &reply.finish), (2, &Finish::ToolCalls));
        for call in &reply.calls {
            let arguments: Value = serde_json::from_str(&call.arguments()).unwrap();
            assert!(arguments["city"].is_string() && arguments["days"].is_u64());
            assert!(["C", "F"].contains(&arguments["unit"].as_str().unwrap()));
        }
        let silent = Ask { choice: ToolChoice::None, ..asked };
        assert!(make(&silent, &Behaviour::default(), ENCODING, 0).calls.is_empty());
    }
}
