//! What a simulator is told to do: behaviours, faults, and the server-side queue that hands them out.
//!
//! Orders live in the server, not in request headers, because a gateway strips headers. An order reaches
//! it by [`crate::sim::Server::order`] in the same process or as JSON by `POST /sim/control`. A request
//! takes the first rule whose text its prompt contains, else the head of the queue, each laid over the
//! defaults field by field.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// What the reply says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyKind {
    /// Seeded pseudo-text in many scripts; tool calls where the request has tools and asks for them.
    #[default]
    Text,
    /// The last user text, word for word; tool arguments carry it too.
    Echo,
    /// Tool calls whenever the request has tools, whatever the last message says.
    Tools,
    /// This text.
    Fixed(String),
}

/// How the answer's bytes are cut into frames; each frame is one write on the socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chunking {
    /// One frame per event, as real servers do.
    #[default]
    Event,
    /// Every frame has this many bytes (1 to 16,384), the last one fewer.
    Fixed(usize),
    /// Seeded sizes from `min` to `max` bytes.
    Random { min: usize, max: usize, seed: u64 },
    /// Cuts at the worst places: inside `data:`, inside every multi-byte character, between the two line
    /// feeds of a boundary, inside every `\u` escape.
    Hostile,
}

/// A place in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// After this many events; in an answer that is not streamed, after half of its bytes.
    Events(usize),
    /// After this many bytes of the body.
    Bytes(usize),
}

impl Default for At {
    fn default() -> Self {
        Self::Events(3)
    }
}

/// One misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error status in the provider's own shape. `error_type` is vLLM's `type` or Bedrock's exception.
    Status {
        code: u16,
        #[serde(default)]
        retry_after: Option<String>,
        #[serde(default)]
        error_type: Option<String>,
        #[serde(default)]
        message: Option<String>,
    },
    /// The provider's 400 for a prompt over its context.
    ContextLength,
    /// RST on HTTP/1, RST_STREAM on HTTP/2, before any byte of the answer.
    ResetBeforeHeaders,
    /// FIN before any byte of the answer.
    CloseBeforeHeaders,
    /// No answer for `ms` milliseconds; absent: until the client gives up.
    StallBeforeHeaders {
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Status 200 and headers, then nothing for `ms` milliseconds; absent: until the client gives up.
    SilenceAfterHeaders {
        #[serde(default)]
        ms: Option<u64>,
    },
    StallMidStream {
        #[serde(default)]
        at: At,
        #[serde(default)]
        ms: Option<u64>,
    },
    /// RST after part of the body.
    ResetMidStream {
        #[serde(default)]
        at: At,
    },
    /// FIN after part of the body, without the end that HTTP demands.
    CloseMidStream {
        #[serde(default)]
        at: At,
    },
    /// The body ends early but properly: HTTP sees a complete answer, the dialect does not.
    CutMidStream {
        #[serde(default)]
        at: At,
    },
    /// Status 200, and the first event is an error.
    ErrorFirstFrame {
        #[serde(default)]
        error_type: Option<String>,
        #[serde(default)]
        message: Option<String>,
    },
    ErrorMidStream {
        #[serde(default)]
        at: At,
        #[serde(default)]
        error_type: Option<String>,
        #[serde(default)]
        message: Option<String>,
    },
    /// Bytes that are no HTTP at all.
    GarbageHead { bytes: usize },
    /// Status 200, then random bytes instead of the body.
    GarbageBody { bytes: usize },
    /// Random bytes after part of the body, then the end.
    GarbageMidStream {
        #[serde(default)]
        at: At,
        bytes: usize,
    },
}

/// What an exchange costs that did not end as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bill {
    /// Nothing.
    Nothing,
    /// The prompt once the answer had begun, and what had been generated when it ended.
    Stops,
    /// The whole answer.
    All,
}

/// How one request is served; what is absent falls back to the server's defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    pub reply: Option<ReplyKind>,
    /// Length of a pseudo-text reply in tokens; absent: 24 to 88, by the prompt.
    pub reply_tokens: Option<u32>,
    /// Tokens in one streamed event; default 1.
    pub tokens_per_event: Option<u32>,
    /// Milliseconds from the request to the first token; an answer that is not streamed waits too.
    pub ttft_ms: Option<u64>,
    /// Microseconds per generated token.
    pub token_us: Option<u64>,
    pub chunking: Option<Chunking>,
    /// Encode the answer, whatever the request accepts.
    pub gzip: Option<bool>,
    /// Cached prompt tokens to report, instead of what the simulated cache found.
    pub cached_tokens: Option<u32>,
    /// Prompt tokens that the provider writes to its cache unasked, where its API tells of them; no more than there are.
    pub cache_write_tokens: Option<u32>,
    /// Most tokens that it thinks before it says anything, by the prompt: within the ceiling, billed as output, never
    /// shown.
    pub reasoning_tokens: Option<u32>,
    pub bill: Option<Bill>,
    /// More answer headers.
    pub headers: Vec<(String, String)>,
    pub fault: Option<Fault>,
}

impl Behaviour {
    pub fn echo() -> Self {
        Self { reply: Some(ReplyKind::Echo), ..Self::default() }
    }

    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    pub fn status(code: u16) -> Self {
        Self::fault(Fault::Status { code, retry_after: None, error_type: None, message: None })
    }

    /// This behaviour, with `base` where it says nothing.
    pub fn over(self, base: &Self) -> Self {
        let mut headers = base.headers.clone();
        headers.extend(self.headers);
        Self {
            reply: self.reply.or_else(|| base.reply.clone()),
            reply_tokens: self.reply_tokens.or(base.reply_tokens),
            tokens_per_event: self.tokens_per_event.or(base.tokens_per_event),
            ttft_ms: self.ttft_ms.or(base.ttft_ms),
            token_us: self.token_us.or(base.token_us),
            chunking: self.chunking.or_else(|| base.chunking.clone()),
            gzip: self.gzip.or(base.gzip),
            cached_tokens: self.cached_tokens.or(base.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.or(base.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.or(base.reasoning_tokens),
            bill: self.bill.or(base.bill),
            headers,
            fault: self.fault.or_else(|| base.fault.clone()),
        }
    }
}

/// A behaviour for the requests whose prompt contains a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub contains: String,
    /// How many requests it serves; absent: all.
    #[serde(default)]
    pub times: Option<u32>,
    pub behaviour: Behaviour,
}

/// A change of the server's orders.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// Forget the queue and the rules, and go back to the defaults the server started with, first.
    pub clear: bool,
    /// New defaults, in place of the present ones.
    pub defaults: Option<Behaviour>,
    /// For the next requests, one each.
    pub next: Vec<Behaviour>,
    /// How many times `next` is queued; default 1.
    pub repeat: Option<u32>,
    pub rules: Vec<Rule>,
}

#[derive(Default)]
struct State {
    defaults: Behaviour,
    next: VecDeque<Behaviour>,
    rules: Vec<Rule>,
}

/// The orders a server holds.
pub struct Controls {
    initial: Behaviour,
    state: Mutex<State>,
}

impl Controls {
    pub fn new(initial: Behaviour) -> Self {
        let state = State { defaults: initial.clone(), ..State::default() };
        Self { initial, state: Mutex::new(state) }
    }

    pub fn order(&self, order: Order) {
        let mut state = self.state.lock().unwrap();
        if order.clear {
            *state = State { defaults: self.initial.clone(), ..State::default() };
        }
        if let Some(defaults) = order.defaults {
            state.defaults = defaults;
        }
        for _ in 0..order.repeat.unwrap_or(1) {
            state.next.extend(order.next.iter().cloned());
        }
        state.rules.extend(order.rules);
    }

    /// The behaviour for a request with this prompt; consumes a queued one or a rule's turn.
    pub fn take(&self, prompt: &str) -> Behaviour {
        let mut state = self.state.lock().unwrap();
        let found = state.rules.iter().position(|r| r.times != Some(0) && prompt.contains(&r.contains));
        let chosen = match found {
            Some(at) => {
                let rule = &mut state.rules[at];
                rule.times = rule.times.map(|t| t - 1);
                rule.behaviour.clone()
            }
            None => state.next.pop_front().unwrap_or_default(),
        };
        chosen.over(&state.defaults)
    }

    pub fn show(&self) -> serde_json::Value {
        let state = self.state.lock().unwrap();
        serde_json::json!({"defaults": state.defaults, "next": state.next, "rules": state.rules})
    }
}
