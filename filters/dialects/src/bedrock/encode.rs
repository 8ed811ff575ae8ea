//! A hub chat as a Converse request. What Converse cannot say is refused where leaving it out would change the
//! answer's form (`n`, `logprobs`), else it is a loss.

use weir_sorted::Map;
use weir_wire::json::Writer;

use super::blocks::Blocks;
use super::family::{self, Effort, Family};
use super::names::{self, Documents, Renames};
use super::turns;
use crate::hub::{Chat, Invalid, Loss, Part, ResponseFormat, ToolChoice};

/// A request for Bedrock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The path, model id percent-encoded once. Signing encodes it again.
    pub path: String,
    /// JSON.
    pub body: Vec<u8>,
    /// What was left out or changed.
    pub losses: Vec<Loss>,
    /// Tools whose names were replaced; answers and streams need it to restore them.
    pub renames: Renames,
}

/// Most labels of `requestMetadata`, and most bytes of a key or value.
const MOST_LABELS: usize = 16;
const MOST_LABEL: usize = 256;

/// Writes the request for `model_id`: a base id, an inference profile's, or any ARN.
pub fn encode(chat: &Chat, model_id: &str) -> Result<Encoded, Invalid> {
    one_answer(chat)?;
    let family = Family::of(model_id);
    let mut losses = Vec::new();
    let plan = turns::plan(chat, family, true, &mut losses)?;
    let mut blocks = Blocks {
        out: Writer::new(Vec::with_capacity(2048)),
        family,
        renames: Renames::default(),
        losses,
        documents: Documents::default(),
    };
    blocks.out.begin_object();
    blocks.out.key("messages").begin_array();
    for turn in &plan.turns {
        blocks.out.begin_object().member("role", if turn.assistant { "assistant" } else { "user" });
        blocks.out.key("content").begin_array();
        for block in &turn.blocks {
            blocks.block(block)?;
        }
        blocks.out.end_array().end_object();
    }
    blocks.out.end_array();
    if !plan.system.is_empty() {
        blocks.out.key("system").begin_array();
        for block in &plan.system {
            blocks.system(block)?;
        }
        blocks.out.end_array();
    }
    inference(chat, &mut blocks)?;
    let tools = tools(chat, &mut blocks);
    additional(chat, tools, &mut blocks);
    output_config(chat, &mut blocks);
    service_tier(chat, &mut blocks);
    labels(chat, &mut blocks);
    for (path, there) in [
        ("seed", chat.seed.is_some()),
        ("frequency_penalty", chat.frequency_penalty.as_ref().is_some_and(|it| it.value != 0.0)),
        ("presence_penalty", chat.presence_penalty.as_ref().is_some_and(|it| it.value != 0.0)),
    ] {
        if there {
            blocks.lose(path, "a setting that Converse does not have");
        }
    }
    blocks.out.end_object();
    Ok(Encoded {
        path: family::path(model_id, chat.stream),
        body: blocks.out.into_inner(),
        losses: blocks.losses,
        renames: blocks.renames,
    })
}

/// Refuses what would give more than one answer, or more than text.
#[inline(never)]
pub(crate) fn one_answer(chat: &Chat) -> Result<(), Invalid> {
    if chat.n.is_some_and(|n| n > 1) {
        return Err(Invalid::unsupported(
            "n",
            "this model's provider gives one answer per request: 'n' must be 1",
        ));
    }
    if chat.logprobs {
        return Err(Invalid::unsupported("logprobs", "this model's provider gives no log probabilities"));
    }
    Ok(())
}

/// Where Claude says which stop text ended its answer.
pub(super) const STOP_PATH: &str = "/stop_sequence";

fn inference(chat: &Chat, blocks: &mut Blocks) -> Result<(), Invalid> {
    let mut temperature = chat.temperature.as_ref().map(|asked| asked.text.as_str());
    if let Some(asked) = &chat.temperature {
        if asked.value < 0.0 {
            return Err(Invalid::value("temperature", "'temperature' must not be negative"));
        }
        if asked.value > 1.0 {
            blocks.lose("temperature", "Bedrock's scale ends at 1: lowered to 1");
            temperature = Some("1.0");
        }
    }
    if chat.top_p.as_ref().is_some_and(|asked| !(0.0..=1.0).contains(&asked.value)) {
        return Err(Invalid::value("top_p", "'top_p' must be between 0 and 1"));
    }
    if chat.max_output == Some(0) {
        return Err(Invalid::value("max_completion_tokens", "an answer must be allowed at least 1 token"));
    }
    for (at, stop) in chat.stop.iter().enumerate() {
        if stop.trim().is_empty() {
            blocks.lose(format!("stop[{at}]"), "a blank stop text is not accepted");
        }
    }
    let stops: Vec<_> = chat.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    if chat.max_output.is_none() && temperature.is_none() && chat.top_p.is_none() && stops.is_empty() {
        return Ok(());
    }
    let out = blocks.out.key("inferenceConfig").begin_object();
    if let Some(most) = chat.max_output {
        // The service's integers are 32 bits.
        out.key("maxTokens").u64(most.min(i32::MAX as u64));
    }
    for (key, number) in
        [("temperature", temperature), ("topP", chat.top_p.as_ref().map(|asked| asked.text.as_str()))]
    {
        if let Some(number) = number {
            out.key(key).raw(number.as_bytes());
        }
    }
    if !stops.is_empty() {
        out.key("stopSequences").begin_array();
        stops.iter().for_each(|stop| _ = out.str(stop));
        out.end_array();
    }
    out.end_object();
    if !stops.is_empty() && blocks.family.is_claude() {
        // Which of them ended the answer is said where it is asked for.
        out.key("additionalModelResponseFieldPaths").begin_array().str(STOP_PATH).end_array();
    }
    Ok(())
}

/// Writes `toolConfig`, which Converse demands as soon as the history has a call or a result; tells whether it did.
fn tools(chat: &Chat, blocks: &mut Blocks) -> bool {
    let parts = || chat.messages.iter().flat_map(|message| &message.parts);
    let history = parts().any(|part| matches!(part, Part::ToolCall(_) | Part::ToolResult(_)));
    let refused = chat.tool_choice == Some(ToolChoice::None);
    if !history && (chat.tools.is_empty() || refused) {
        return false;
    }
    if refused {
        let reason = "the tools of the history must be offered, and there is no word for 'none': the model may call one";
        blocks.lose("tool_choice", reason);
    }
    blocks.out.key("toolConfig").begin_object();
    blocks.out.key("tools").begin_array();
    for (at, tool) in chat.tools.iter().enumerate() {
        let description = tool.description.as_deref().filter(|text| !text.trim().is_empty());
        write_tool(&tool.name, description, tool.parameters.as_deref(), tool.strict, blocks);
        if let Some(ttl) = &tool.cache {
            if blocks.caches() {
                blocks.write_cache_point(ttl.as_deref());
            } else {
                blocks.lose(format!("tools[{at}].cache_control"), "a cache point: this model has none");
            }
        }
    }
    if chat.tools.is_empty() {
        blocks.lose(
            "tools",
            "tools that the history calls and the request does not offer are offered without a schema",
        );
        let mut offered: Map<&str, usize> = Map::new();
        for part in parts() {
            if let Part::ToolCall(call) = part
                && offered.insert(call.name.as_str(), 0).is_none()
            {
                write_tool(&call.name, None, None, None, blocks);
            }
        }
        if offered.is_empty() {
            // Results whose calls the client cut away.
            write_tool("unknown", None, None, None, blocks);
        }
    }
    blocks.out.end_array();
    if !chat.tools.is_empty() {
        match &chat.tool_choice {
            None | Some(ToolChoice::None) => {}
            Some(ToolChoice::Auto) => choice("auto", None, blocks),
            Some(ToolChoice::Required) => choice("any", None, blocks),
            Some(ToolChoice::Named(name)) => choice("tool", Some(name), blocks),
        }
    }
    blocks.out.end_object();
    true
}

fn write_tool(
    name: &str,
    description: Option<&str>,
    parameters: Option<&str>,
    strict: Option<bool>,
    blocks: &mut Blocks,
) {
    let name = blocks.renames.tool(name);
    let out = blocks.out.begin_object().key("toolSpec").begin_object();
    out.member("name", &name);
    if let Some(description) = description {
        out.member("description", description);
    }
    let schema = parameters.unwrap_or(r#"{"type":"object","properties":{}}"#);
    out.key("inputSchema").begin_object().key("json").raw(schema.as_bytes()).end_object();
    if let Some(strict) = strict {
        out.key("strict").bool(strict);
    }
    out.end_object().end_object();
}

fn choice(kind: &str, name: Option<&str>, blocks: &mut Blocks) {
    let name = name.map(|name| blocks.renames.tool(name));
    let out = blocks.out.key("toolChoice").begin_object().key(kind).begin_object();
    if let Some(name) = name {
        out.member("name", &name);
    }
    out.end_object().end_object();
}

/// Settings that Converse passes on to the model unread.
fn additional(chat: &Chat, tools: bool, blocks: &mut Blocks) {
    let family = blocks.family;
    let open = family.is_claude() || family == Family::Unknown;
    let thinking = chat.thinking.as_deref().filter(|_| open);
    if chat.thinking.is_some() && thinking.is_none() {
        blocks.lose("thinking", "only Claude has it");
    }
    let top_k = chat.top_k.filter(|_| open || family == Family::Nova);
    if chat.top_k.is_some() && top_k.is_none() {
        blocks.lose("top_k", "not every model has it, and this one's name for it is not known");
    }
    let effort = chat.effort.as_deref();
    let effort = effort.and_then(|asked| family::effort(family, asked, thinking.is_some(), &mut Vec::new()));
    let one_call = tools && chat.parallel_tool_calls == Some(false) && family.is_claude();
    if tools && chat.parallel_tool_calls == Some(false) && !one_call {
        blocks.lose("parallel_tool_calls", "Converse cannot forbid several calls in one turn");
    }
    let named = match &chat.tool_choice {
        Some(ToolChoice::Named(name)) => Some(blocks.renames.tool(name).into_owned()),
        _ => None,
    };
    let own_effort = matches!(effort, Some(Effort::GptOss(_) | Effort::Qwen(_)));
    if thinking.is_none() && top_k.is_none() && !own_effort && !one_call {
        return;
    }
    let out = blocks.out.key("additionalModelRequestFields").begin_object();
    if let Some(thinking) = thinking {
        out.key("thinking").raw(thinking.as_bytes());
    }
    match top_k {
        Some(top_k) if family == Family::Nova => {
            out.key("inferenceConfig").begin_object().key("topK").u64(top_k).end_object();
        }
        Some(top_k) => _ = out.key("top_k").u64(top_k),
        None => {}
    }
    match effort {
        Some(Effort::GptOss(word)) => _ = out.member("reasoning_effort", word),
        Some(Effort::Qwen(word)) => _ = out.member("reasoning_config", word),
        Some(Effort::Converse(_)) | None => {}
    }
    if one_call {
        // Claude's own words; the choice is repeated because this object replaces what toolChoice becomes.
        out.key("tool_choice").begin_object();
        match (&chat.tool_choice, &named) {
            (_, Some(name)) => _ = out.member("type", "tool").member("name", name),
            (Some(ToolChoice::Required), _) => _ = out.member("type", "any"),
            _ => _ = out.member("type", "auto"),
        }
        out.key("disable_parallel_tool_use").bool(true).end_object();
    }
    out.end_object();
}

fn output_config(chat: &Chat, blocks: &mut Blocks) {
    let thinks = chat.thinking.is_some() && blocks.family.is_claude();
    let effort = match &chat.effort {
        Some(asked) => match family::effort(blocks.family, asked, thinks, &mut blocks.losses) {
            Some(Effort::Converse(word)) => Some(word),
            _ => None,
        },
        None => None,
    };
    if chat.response_format == ResponseFormat::JsonObject {
        blocks.lose("response_format", "an answer of any JSON cannot be demanded, only one of a schema");
    }
    let schema = match &chat.response_format {
        ResponseFormat::JsonSchema { name, description, schema, .. } => Some((name, description, schema)),
        _ => None,
    };
    if effort.is_none() && schema.is_none() {
        return;
    }
    let out = blocks.out.key("outputConfig").begin_object();
    if let Some((name, description, schema)) = schema {
        out.key("textFormat").begin_object().member("type", "json_schema");
        out.key("structure").begin_object().key("jsonSchema").begin_object();
        // A JSON text inside a JSON string.
        out.member("schema", schema);
        for (key, text) in [("name", name), ("description", description)] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                out.member(key, text);
            }
        }
        out.end_object().end_object().end_object();
    }
    if let Some(effort) = effort {
        out.member("effort", effort);
    }
    out.end_object();
}

fn service_tier(chat: &Chat, blocks: &mut Blocks) {
    match chat.service_tier.as_deref() {
        None | Some("auto") => {}
        Some(tier @ ("default" | "flex" | "priority")) => {
            blocks.out.key("serviceTier").begin_object().member("type", tier).end_object();
        }
        Some(_) => blocks.lose("service_tier", "a tier that Bedrock does not have"),
    }
}

/// The client's labels, which land in Bedrock's invocation logs.
fn labels(chat: &Chat, blocks: &mut Blocks) {
    let user = chat.user.iter().map(|user| ("user", "user".to_owned(), user.as_str()));
    let named =
        chat.metadata.iter().map(|(key, value)| (key.as_str(), format!("metadata.{key}"), value.as_str()));
    let mut kept: Vec<(String, String)> = Vec::new();
    for (key, path, value) in named.chain(user) {
        let (clean_key, clean_value) = (names::label(key, MOST_LABEL), names::label(value, MOST_LABEL));
        if clean_key.is_empty()
            || kept.len() >= MOST_LABELS
            || kept.iter().any(|(known, _)| *known == clean_key)
        {
            blocks.lose(path, "Bedrock takes at most 16 labels with keys of their own");
            continue;
        }
        if clean_key != key || clean_value != value {
            blocks.lose(path, "characters that a label cannot have are replaced, and what is beyond 256 cut");
        }
        kept.push((clean_key, clean_value));
    }
    if !kept.is_empty() {
        let out = blocks.out.key("requestMetadata").begin_object();
        for (key, value) in &kept {
            out.member(key, value);
        }
        out.end_object();
    }
}
