//! A hub chat as a Converse request. What Converse cannot say is refused where leaving it out would change the
//! answer's form (`n`, `logprobs`), else it is a loss.

use weir_sorted::{Map, trim};
use weir_wire::json::Writer;

use super::blocks::Blocks;
use super::family::{self, Effort, Family};
use super::names::{self, Documents, Renames};
use super::turns;
use crate::hub::{Chat, Invalid, Loss, Number, Part, ResponseFormat, ToolChoice};
use crate::openai_chat::fields;
use crate::write;

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
    blocks.out.fill(r#"{"messages":["#, &[]);
    for turn in &plan.turns {
        let role = if turn.assistant { "assistant" } else { "user" };
        blocks.out.fill(r#"{"role":?,"content":["#, &[role]);
        for block in &turn.blocks {
            blocks.block(block)?;
        }
        blocks.out.fill("]}", &[]);
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
    lose_sampling(chat, "a setting that Converse does not have", &mut blocks.losses);
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

/// Notes the sampling settings that only OpenAI has.
#[inline(never)]
pub(crate) fn lose_sampling(chat: &Chat, reason: &'static str, losses: &mut Vec<Loss>) {
    let set = |number: &Option<Number>| number.as_ref().is_some_and(|number| number.value != 0.0);
    for (path, there) in [
        ("seed", chat.seed.is_some()),
        ("frequency_penalty", set(&chat.frequency_penalty)),
        ("presence_penalty", set(&chat.presence_penalty)),
    ] {
        if there {
            fields::lose(losses, path, reason);
        }
    }
}

/// Whether a stop text can be one: a blank one is accepted nowhere but at OpenAI.
pub(crate) fn is_said(stop: &&String) -> bool {
    !trim(stop).is_empty()
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
        if !is_said(&stop) {
            blocks.lose(&fields::item("stop", at), "a blank stop text is not accepted");
        }
    }
    let stops = chat.stop.iter().any(|stop| is_said(&stop));
    if chat.max_output.is_none() && temperature.is_none() && chat.top_p.is_none() && !stops {
        return Ok(());
    }
    let out = blocks.out.key("inferenceConfig").begin_object();
    // The service's integers are 32 bits.
    write::count(out, "maxTokens", chat.max_output.map(|most| most.min(i32::MAX as u64)));
    write::raw(out, "temperature", temperature);
    write::raw(out, "topP", chat.top_p.as_ref().map(|asked| asked.text.as_str()));
    write::texts(out, "stopSequences", &chat.stop, is_said);
    out.end_object();
    if stops && blocks.family.is_claude() {
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
    blocks.out.fill(r#""toolConfig":{"tools":["#, &[]);
    for (at, tool) in chat.tools.iter().enumerate() {
        let description = tool.description.as_deref().filter(|text| !trim(text).is_empty());
        write_tool(&tool.name, description, tool.parameters.as_deref(), tool.strict, blocks);
        if let Some(ttl) = &tool.cache {
            if blocks.caches() {
                blocks.write_cache_point(ttl.as_deref());
            } else {
                let path = fields::sub(&fields::item("tools", at), "cache_control");
                blocks.lose(&path, "a cache point: this model has none");
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
    let out = blocks.out.fill(r#"{"toolSpec":{"name":?"#, &[&name]);
    write::text(out, "description", description);
    let schema = parameters.unwrap_or(r#"{"type":"object","properties":{}}"#);
    out.fill(r#""inputSchema":{"json":"#, &[]).raw(schema.as_bytes()).end_object();
    write::truth(out, "strict", strict);
    out.fill("}}", &[]);
}

fn choice(kind: &str, name: Option<&str>, blocks: &mut Blocks) {
    let name = name.map(|name| blocks.renames.tool(name));
    let out = blocks.out.fill(r#""toolChoice":{"#, &[]).key(kind).begin_object();
    write::text(out, "name", name.as_deref());
    out.fill("}}", &[]);
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
    write::raw(out, "thinking", thinking);
    if family == Family::Nova && top_k.is_some() {
        out.key("inferenceConfig").begin_object();
        write::count(out, "topK", top_k);
        out.end_object();
    } else {
        write::count(out, "top_k", top_k);
    }
    match effort {
        Some(Effort::GptOss(word)) => _ = out.member("reasoning_effort", word),
        Some(Effort::Qwen(word)) => _ = out.member("reasoning_config", word),
        Some(Effort::Converse(_)) | None => {}
    }
    if one_call {
        // Claude's own words; the choice is repeated because this object replaces what toolChoice becomes.
        let kind = match &chat.tool_choice {
            Some(ToolChoice::Named(_)) => "tool",
            Some(ToolChoice::Required) => "any",
            _ => "auto",
        };
        out.fill(r#""tool_choice":{"type":?"#, &[kind]);
        write::text(out, "name", named.as_deref());
        out.fill(r#""disable_parallel_tool_use":true}"#, &[]);
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
    let structured = matches!(chat.response_format, ResponseFormat::JsonSchema { .. });
    if effort.is_none() && !structured {
        return;
    }
    let out = blocks.out.key("outputConfig").begin_object();
    if let ResponseFormat::JsonSchema { name, description, schema, .. } = &chat.response_format {
        // A JSON text inside a JSON string.
        let piece = r#""textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":?"#;
        out.fill(piece, &[schema]);
        for (key, text) in [("name", name), ("description", description)] {
            write::text(out, key, text.as_deref().filter(|text| !text.is_empty()));
        }
        out.fill("}}}", &[]);
    }
    write::text(out, "effort", effort);
    out.end_object();
}

fn service_tier(chat: &Chat, blocks: &mut Blocks) {
    match chat.service_tier.as_deref() {
        None | Some("auto") => {}
        Some(tier @ ("default" | "flex" | "priority")) => {
            blocks.out.fill(r#""serviceTier":{"type":?}"#, &[tier]);
        }
        Some(_) => blocks.lose("service_tier", "a tier that Bedrock does not have"),
    }
}

/// The client's labels, which land in Bedrock's invocation logs.
fn labels(chat: &Chat, blocks: &mut Blocks) {
    let mut kept: Vec<(String, String)> = Vec::new();
    for (key, value) in &chat.metadata {
        label(key, value, &fields::sub("metadata", key), &mut kept, blocks);
    }
    if let Some(user) = &chat.user {
        label("user", user, "user", &mut kept, blocks);
    }
    if !kept.is_empty() {
        let out = blocks.out.key("requestMetadata").begin_object();
        for (key, value) in &kept {
            out.member(key, value);
        }
        out.end_object();
    }
}

/// Keeps a label that stands at `path` as Bedrock can have it.
#[inline(never)]
fn label(key: &str, value: &str, path: &str, kept: &mut Vec<(String, String)>, blocks: &mut Blocks) {
    let (clean_key, clean_value) = (names::label(key, MOST_LABEL), names::label(value, MOST_LABEL));
    if clean_key.is_empty() || kept.len() >= MOST_LABELS || kept.iter().any(|(known, _)| *known == clean_key)
    {
        return blocks.lose(path, "Bedrock takes at most 16 labels with keys of their own");
    }
    if clean_key != key || clean_value != value {
        blocks.lose(path, "characters that a label cannot have are replaced, and what is beyond 256 cut");
    }
    kept.push((clean_key, clean_value));
}
