//! Writes answers as vLLM does, key by key: the unary objects with their nulls, the chunks of a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

use super::Model;
use super::request::{Asked, Kind, Refusal};
use crate::sim::flow::{Answer, Event};
use crate::sim::reply::{Finish, Reply, ToolCall};

#[derive(Clone, Serialize)]
pub struct Usage {
    prompt_tokens: u32,
    total_tokens: u32,
    completion_tokens: u32,
    prompt_tokens_details: Option<Details>,
}

#[derive(Clone, Serialize)]
struct Details {
    cached_tokens: u32,
}

impl Usage {
    pub fn new(prompt: u32, completion: u32, cached: Option<u32>) -> Self {
        Self {
            prompt_tokens: prompt,
            total_tokens: prompt + completion,
            completion_tokens: completion,
            prompt_tokens_details: cached.map(|cached_tokens| Details { cached_tokens }),
        }
    }
}

pub fn write(asked: &Asked, replies: &[Reply], id: &str, usage: &Usage, error: &Refusal) -> Answer {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let prefix = if asked.kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
    let shape = Shape { asked, id: format!("{prefix}-{id}"), created };
    if !asked.stream {
        let body = shape.unary(replies, usage);
        let tokens = replies.iter().map(Reply::tokens).sum();
        return Answer {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            events: vec![Event { bytes: body.into_bytes(), tokens }],
            streamed: false,
            error_event: error.body().into_bytes(),
        };
    }
    Answer {
        status: 200,
        headers: vec![("content-type".into(), "text/event-stream; charset=utf-8".into())],
        events: shape.stream(replies, usage),
        streamed: true,
        // The generator ends with the sentinel even after an error.
        error_event: format!("data: {}\n\ndata: [DONE]\n\n", error.body()).into_bytes(),
    }
}

pub fn models(models: &[Model]) -> String {
    let data: Vec<Value> = models
        .iter()
        .map(|m| {
            json!({"id": m.name, "object": "model", "created": 1_754_179_200, "owned_by": "vllm",
                   "root": m.name, "parent": null, "max_model_len": m.max_model_len})
        })
        .collect();
    json!({"object": "list", "data": data}).to_string()
}

struct Shape<'a> {
    asked: &'a Asked,
    id: String,
    created: u64,
}

// The structs below fix the order of keys; serde_json's own maps would sort them.

#[derive(Serialize)]
struct Unary<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<C>,
    service_tier: (),
    system_fingerprint: (),
    usage: &'a Usage,
    prompt_logprobs: (),
    prompt_token_ids: (),
    kv_transfer_params: (),
    metrics: (),
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: (),
    finish_reason: &'static str,
    stop_reason: Option<&'a str>,
    token_ids: (),
    routed_experts: (),
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: (),
    annotations: (),
    audio: (),
    function_call: (),
    tool_calls: Vec<FunctionCall<'a>>,
    reasoning: Option<String>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    id: String,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    index: usize,
    text: String,
    logprobs: (),
    finish_reason: &'static str,
    stop_reason: Option<&'a str>,
    token_ids: (),
    prompt_logprobs: (),
    prompt_token_ids: (),
}

#[derive(Serialize)]
struct Chunk<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Delta<'a, D> {
    index: usize,
    delta: D,
    logprobs: (),
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<Option<&'a str>>,
    token_ids: (),
}

#[derive(Serialize)]
struct TextDelta<'a> {
    index: usize,
    text: &'a str,
    logprobs: (),
    finish_reason: Option<&'static str>,
    stop_reason: Option<&'a str>,
    prompt_token_ids: (),
    token_ids: (),
}

fn reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopString(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

fn stop_reason(finish: &Finish) -> Option<&str> {
    if let Finish::StopString(found) = finish { Some(found) } else { None }
}

fn call_id(call: &ToolCall) -> String {
    format!("chatcmpl-tool-{}", call.id.to_lowercase())
}

fn text_of<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain structs serialise")
}

impl Shape<'_> {
    fn unary(&self, replies: &[Reply], usage: &Usage) -> String {
        if self.asked.kind == Kind::Text {
            let choice = |(index, reply): (usize, &Reply)| TextChoice {
                index,
                text: reply.text(),
                logprobs: (),
                finish_reason: reason(&reply.finish),
                stop_reason: None,
                token_ids: (),
                prompt_logprobs: (),
                prompt_token_ids: (),
            };
            let choices = replies.iter().enumerate().map(choice).collect();
            return self.unary_of("text_completion", choices, usage);
        }
        let choices = replies.iter().enumerate().map(|(index, reply)| Choice {
            index,
            message: Message {
                role: "assistant",
                content: reply
                    .calls
                    .is_empty()
                    .then(|| reply.said().pieces.iter().map(|piece| piece.text.as_str()).collect()),
                refusal: (),
                annotations: (),
                audio: (),
                function_call: (),
                tool_calls: reply
                    .calls
                    .iter()
                    .map(|call| FunctionCall {
                        id: call_id(call),
                        r#type: "function",
                        function: Function { name: &call.name, arguments: call.arguments() },
                    })
                    .collect(),
                reasoning: reply.said().thought.map(|thought| thought.text),
            },
            logprobs: (),
            finish_reason: reason(&reply.finish),
            stop_reason: stop_reason(&reply.finish),
            token_ids: (),
            routed_experts: (),
        });
        self.unary_of("chat.completion", choices.collect(), usage)
    }

    fn unary_of<C: Serialize>(&self, object: &'static str, choices: Vec<C>, usage: &Usage) -> String {
        text_of(&Unary {
            id: &self.id,
            object,
            created: self.created,
            model: &self.asked.model,
            choices,
            service_tier: (),
            system_fingerprint: (),
            usage,
            prompt_logprobs: (),
            prompt_token_ids: (),
            kv_transfer_params: (),
            metrics: (),
        })
    }

    /// Choices take turns, as they do when generated in one batch.
    fn stream(&self, replies: &[Reply], usage: &Usage) -> Vec<Event> {
        let mut lanes: Vec<Vec<Event>> = Vec::new();
        let mut done = 0;
        for (index, reply) in replies.iter().enumerate() {
            lanes.push(match self.asked.kind {
                Kind::Chat => self.chat_lane(index, reply, usage),
                Kind::Text => self.text_lane(index, reply, usage),
            });
        }
        let mut events = Vec::new();
        for turn in 0.. {
            let now: Vec<&Event> = lanes.iter().filter_map(|lane| lane.get(turn)).collect();
            if now.is_empty() {
                break;
            }
            events.extend(now.into_iter().cloned());
        }
        done += usage.completion_tokens;
        if self.asked.include_usage {
            let chunk: Chunk<'_, Value> = self.chunk(Vec::new(), Some(usage.clone()), Some("vllm-sim"));
            events.push(sse(&chunk, 0));
        }
        debug_assert_eq!(done, events.iter().map(|e| e.tokens).sum::<u32>());
        events.push(Event { bytes: b"data: [DONE]\n\n".to_vec(), tokens: 0 });
        events
    }

    fn chunk<C>(&self, choices: Vec<C>, usage: Option<Usage>, print: Option<&'static str>) -> Chunk<'_, C> {
        let object = if self.asked.kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
        Chunk {
            id: &self.id,
            object,
            created: self.created,
            model: &self.asked.model,
            choices,
            system_fingerprint: print,
            usage,
        }
    }

    /// Usage so far, where the request wants it in every chunk.
    fn running(&self, usage: &Usage, tokens: u32) -> Option<Usage> {
        let cached = usage.prompt_tokens_details.as_ref().map(|d| d.cached_tokens);
        self.asked.continuous_usage.then(|| Usage::new(usage.prompt_tokens, tokens, cached))
    }

    fn chat_lane(&self, index: usize, reply: &Reply, usage: &Usage) -> Vec<Event> {
        let mut events = Vec::new();
        let mut sofar = 0;
        let mut add = |delta: Value, tokens: u32, finish: Option<&Finish>| {
            sofar += tokens;
            let choice = Delta {
                index,
                delta,
                logprobs: (),
                finish_reason: finish.map(reason),
                stop_reason: finish.map(stop_reason),
                token_ids: (),
            };
            events.push(sse(&self.chunk(vec![choice], self.running(usage, sofar), None), tokens));
        };
        add(json!({"role": "assistant", "content": ""}), 0, None);
        for (at, call) in reply.calls.iter().enumerate() {
            let function = json!({"name": call.name, "arguments": ""});
            add(
                json!({"tool_calls": [{"index": at, "id": call_id(call), "type": "function", "function": function}]}),
                0,
                None,
            );
            for piece in &call.arguments {
                let function = json!({"arguments": piece.text});
                add(json!({"tool_calls": [{"index": at, "function": function}]}), piece.tokens, None);
            }
        }
        let said = reply.said();
        if let Some(thought) = said.thought {
            add(json!({"reasoning": thought.text}), thought.tokens, None);
        }
        let last = said.pieces.len().saturating_sub(1);
        for (at, piece) in said.pieces.iter().enumerate() {
            add(json!({"content": piece.text}), piece.tokens, (at == last).then_some(&reply.finish));
        }
        if said.pieces.is_empty() {
            add(json!({"content": ""}), 0, Some(&reply.finish));
        }
        events
    }

    fn text_lane(&self, index: usize, reply: &Reply, usage: &Usage) -> Vec<Event> {
        let mut events = Vec::new();
        let mut sofar = 0;
        let mut add = |text: &str, tokens: u32, finish: Option<&Finish>| {
            sofar += tokens;
            let choice = TextDelta {
                index,
                text,
                logprobs: (),
                finish_reason: finish.map(reason),
                stop_reason: finish.and_then(stop_reason),
                prompt_token_ids: (),
                token_ids: (),
            };
            events.push(sse(&self.chunk(vec![choice], self.running(usage, sofar), None), tokens));
        };
        let last = reply.pieces.len().saturating_sub(1);
        for (at, piece) in reply.pieces.iter().enumerate() {
            add(&piece.text, piece.tokens, (at == last).then_some(&reply.finish));
        }
        if reply.pieces.is_empty() {
            add("", 0, Some(&reply.finish));
        }
        events
    }
}

fn sse<T: Serialize>(chunk: &T, tokens: u32) -> Event {
    Event { bytes: format!("data: {}\n\n", text_of(chunk)).into_bytes(), tokens }
}
