//! The form between dialects: a chat, its answer and its stream, as no provider spells them. It is plain data; each
//! dialect's folder converts into it and out of it, so a pair of dialects costs one decode and one encode and
//! nobody translates N×M. It is not a wire format: it never leaves the process.
//!
//! JSON that only passes through (schemas, arguments, thinking settings) stays raw text, so that numbers and key
//! order survive. Binary content stays base64 as it came.

use std::fmt;
use std::ops::Deref;

/// One request for one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    /// The model's name as asked.
    pub model: String,
    /// Turns in order, system messages where they stood.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// How it must choose among them; none where the client said nothing.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls in one turn are allowed; none where the client said nothing.
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens to generate, reasoning included.
    pub max_output: Option<u64>,
    /// Sampling temperature on OpenAI's scale, 0 to 2.
    pub temperature: Option<Number>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<Number>,
    /// Sampling among the k likeliest.
    pub top_k: Option<u64>,
    /// −2 to 2.
    pub frequency_penalty: Option<Number>,
    /// −2 to 2.
    pub presence_penalty: Option<Number>,
    /// Asked determinism.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Number of answers asked for; none means one.
    pub n: Option<u64>,
    /// Whether log probabilities of the tokens are asked for.
    pub logprobs: bool,
    /// The form that the answer must have.
    pub response_format: ResponseFormat,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    pub effort: Option<String>,
    /// Anthropic's `thinking` object, raw JSON.
    pub thinking: Option<String>,
    /// The speed class asked for.
    pub service_tier: Option<String>,
    /// The client's own labels.
    pub metadata: Vec<(String, String)>,
    /// The client's name for its end user.
    pub user: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client wants the usage in the stream.
    pub include_usage: bool,
}

impl Chat {
    /// One that says nothing yet.
    #[inline(never)]
    pub fn of(model: String, stream: bool, include_usage: bool) -> Self {
        Chat { model, stream, include_usage, ..Chat::default() }
    }
}

/// A setting that is a number, with the digits that the client wrote: they pass through as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// The nearest double, finite.
    pub value: f64,
    /// JSON.
    pub text: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the platform.
    System,
    /// Instructions of the application, where a dialect tells them from the platform's.
    Developer,
    /// The human's side.
    User,
    /// The model.
    Assistant,
    /// A tool's result; its parts are [`Part::ToolResult`].
    Tool,
}

impl Role {
    /// The OpenAI word.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One turn, or a piece of one: dialects differ in whether neighbours of one role are merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// A participant's name.
    pub name: Option<String>,
    /// What is said, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// The model declined, in its own words.
    Refusal(String),
    /// An image in the request itself.
    Image {
        /// `image/png` and the like.
        media_type: String,
        /// Base64.
        data: String,
    },
    /// An image that the provider would have to fetch.
    ImageUrl {
        /// Any scheme but `data:`.
        url: String,
    },
    /// Sound in the request itself.
    Audio {
        /// `wav`, `mp3`, …
        format: String,
        /// Base64.
        data: String,
    },
    /// A film in the request itself.
    Video {
        /// `video/mp4` and the like.
        media_type: String,
        /// Base64.
        data: String,
    },
    /// A file for the model to read.
    Document {
        /// `application/pdf` and the like.
        media_type: String,
        /// File name as the client gave it.
        name: Option<String>,
        /// Base64.
        data: String,
    },
    /// The model calls a tool.
    ToolCall(ToolCall),
    /// What the tool said.
    ToolResult(ToolResult),
    /// The model's reasoning; never altered, because its signature covers it.
    Reasoning {
        /// May be empty where only the signature is shown.
        text: String,
        /// The provider's proof that the text is its own.
        signature: Option<String>,
    },
    /// Reasoning that only the provider can read, base64.
    RedactedReasoning(String),
    /// Everything up to here may be cached by the provider.
    CachePoint {
        /// `5m` or `1h`; none for the provider's default.
        ttl: Option<String>,
    },
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Ties the result to the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Raw JSON as the model wrote it: usually an object, sometimes empty, sometimes broken.
    pub arguments: String,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// Text, images, documents.
    pub parts: Vec<Part>,
    /// Whether the tool failed.
    pub error: bool,
}

/// A tool on offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    /// What the model calls it.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments, raw; none for a tool without any.
    pub parameters: Option<String>,
    /// Whether arguments must match the schema exactly.
    pub strict: Option<bool>,
    /// A cache point after this tool; the inner value is its time to live.
    pub cache: Option<Option<String>>,
}

/// How the model must choose among the tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// No call.
    None,
    /// At least one call.
    Required,
    /// This tool.
    Named(String),
}

/// The form that an answer must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<String>,
        /// What the answer is.
        description: Option<String>,
        /// Raw JSON.
        schema: String,
        /// Whether the answer must match exactly.
        strict: Option<bool>,
    },
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's id, where its body has one.
    pub id: Option<String>,
    /// The model that answered, where the body names it.
    pub model: Option<String>,
    /// What the model said.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub finish: Finish,
    /// Which of the client's stop texts ended it, where the provider says.
    pub stop_sequence: Option<String>,
    /// What it cost.
    pub usage: Option<Usage>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    #[default]
    Stop,
    /// One of the client's stop texts.
    StopSequence,
    /// The ceiling or the context window.
    Length,
    /// The model waits for tool results.
    ToolCalls,
    /// A filter or guardrail stepped in.
    ContentFilter,
    /// The model broke its own output format.
    Malformed,
}

/// Tokens as billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens, cached ones *included* whatever the dialect counts.
    pub input: u64,
    /// Generated tokens, reasoning included.
    pub output: u64,
    /// Of `input`: read from the provider's cache.
    pub cache_read: u64,
    /// Of `input`: written into it.
    pub cache_write: u64,
    /// Of `output`: reasoning, where the provider says.
    pub reasoning: u64,
}

impl Usage {
    /// Each number at least that of `other`: streams tell their usage in several steps, none of which takes back.
    pub fn or_more(&self, other: &Usage) -> Usage {
        Usage {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write: self.cache_write.max(other.cache_write),
            reasoning: self.reasoning.max(other.reasoning),
        }
    }

    /// Input that no cache was concerned with.
    pub fn uncached(&self) -> u64 {
        self.input.saturating_sub(self.cache_read).saturating_sub(self.cache_write)
    }

    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// A step of a streamed answer. `choice` counts answers from 0, `index` a choice's tool calls from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id, where the stream has one.
        id: Option<String>,
        /// The model, where the stream names it.
        model: Option<String>,
    },
    /// More text.
    TextDelta {
        /// Which answer.
        choice: u32,
        /// At least one character.
        text: String,
    },
    /// More of the model's refusal.
    RefusalDelta {
        /// Which answer.
        choice: u32,
        /// At least one character.
        text: String,
    },
    /// More reasoning.
    ReasoningDelta {
        /// Which answer.
        choice: u32,
        /// At least one character.
        text: String,
    },
    /// The signature over the reasoning so far.
    ReasoningSignature {
        /// Which answer.
        choice: u32,
        /// Opaque.
        signature: String,
    },
    /// Reasoning that only the provider can read.
    ReasoningRedacted {
        /// Which answer.
        choice: u32,
        /// Base64.
        data: String,
    },
    /// A tool call begins.
    ToolStart {
        /// Which answer.
        choice: u32,
        /// Which call.
        index: u32,
        /// Ties the result to the call.
        id: String,
        /// The tool, by the client's name.
        name: String,
    },
    /// More of a call's arguments.
    ToolArguments {
        /// Which answer.
        choice: u32,
        /// Which call.
        index: u32,
        /// A piece of JSON text.
        text: String,
    },
    /// Which of the client's stop texts ended an answer, where the provider says; before its finish.
    StopSequence {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
    },
    /// An answer is complete.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        finish: Finish,
    },
    /// What it cost; may come after the finish.
    Usage(Usage),
    /// The stream broke; nothing follows.
    Error(Failure),
    /// The stream ended well.
    Done,
}

/// A provider's error, as the client shall see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status for the client.
    pub status: u16,
    /// The SDK's word: `invalid_request_error`, `rate_limit_error`, …
    pub kind: String,
    /// A machine-readable reason.
    pub code: Option<String>,
    /// The provider's own words.
    pub message: String,
    /// The request field at fault.
    pub param: Option<String>,
}

impl Failure {
    /// An answer that cannot be read: 502, `server_error`.
    pub fn unreadable(message: &str) -> Self {
        Failure {
            status: 502,
            kind: "server_error".into(),
            code: Some("upstream_unreadable".into()),
            message: message.into(),
            param: None,
        }
    }
}

/// Something that the target dialect cannot carry, and so was left out or changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// Where in the source, as `messages[2].content[0]`.
    pub path: String,
    /// What became of it.
    pub reason: &'static str,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// A request that cannot be carried at all: HTTP 400, in the client's dialect. One word, since every reader of a
/// field passes it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Box<Fault>);

/// What an [`Invalid`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field at fault, as `messages[2].content[0]`.
    pub param: String,
    /// What is wrong, for the application's developer.
    pub message: String,
    /// `invalid_value`, `missing_required_parameter`, `unsupported_value`, …
    pub code: &'static str,
}

impl Invalid {
    /// A value that is wrong whatever the provider.
    #[inline(never)]
    pub fn value(param: &str, message: &str) -> Self {
        Self::of(param, message, "invalid_value")
    }

    /// A field that must be there.
    #[inline(never)]
    pub fn missing(param: &str) -> Self {
        Self::of(param, &["missing required parameter: '", param, "'"].concat(), "missing_required_parameter")
    }

    /// A value that is right but that the provider chosen for the model cannot be given.
    #[inline(never)]
    pub fn unsupported(param: &str, message: &str) -> Self {
        Self::of(param, message, "unsupported_value")
    }

    /// What it says, to be taken apart.
    pub fn into_fault(self) -> Fault {
        *self.0
    }

    #[inline(never)]
    fn of(param: &str, message: &str, code: &'static str) -> Self {
        Invalid(Box::new(Fault { param: param.to_owned(), message: message.to_owned(), code }))
    }
}

impl Deref for Invalid {
    type Target = Fault;

    fn deref(&self) -> &Fault {
        &self.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        let Fault { param, message, code } = invalid.into_fault();
        Failure {
            status: 400,
            kind: "invalid_request_error".into(),
            code: Some(code.into()),
            message,
            param: Some(param),
        }
    }
}
