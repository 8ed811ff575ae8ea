//! Every attribute of the conventions' registry: emitted, or why not. A test holds this table against the registry,
//! another against what a run emits.

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// On the spans of exchanges.
    Span,
    /// On metrics only.
    Metric,
    /// On the event of a score.
    Event,
    /// On the spans of exchanges whose policy asks for content.
    Content,
    /// Nowhere, for this reason.
    No(&'static str),
}

use Coverage::{Content, Event, Metric, No, Span};

const AGENT: &str = "what an agent does inside an application does not pass the gateway";
const TOOL: &str = "tools run in the application: the gateway sees only that they are asked for";
const MEMORY: &str = "memory stores are not served";
const RETRIEVAL: &str = "of retrieval's own spans, and it is not served: which documents an application says it brought \
                         is in weir.retrieval.documents";
const EVALUATION: &str = "a score is a number: words about an answer are content";
const TOOLS: &str =
    "what tools there are is the application's; which are called, and with what, is in the messages";
const PROMPTS: &str = "named prompts are not built yet";
const RESPONSES: &str = "of responses that are fetched later, which are not served";
const MCP: &str = "MCP is not served";

/// The table.
pub const COVERAGE: &[(&str, Coverage)] = &[
    ("gen_ai.provider.name", Span),
    ("gen_ai.request.model", Span),
    ("gen_ai.request.max_tokens", Span),
    ("gen_ai.request.choice.count", Span),
    ("gen_ai.request.temperature", Span),
    ("gen_ai.request.top_p", Span),
    ("gen_ai.request.top_k", Span),
    ("gen_ai.request.stop_sequences", Span),
    ("gen_ai.request.frequency_penalty", Span),
    ("gen_ai.request.presence_penalty", Span),
    ("gen_ai.request.encoding_formats", Span),
    ("gen_ai.request.seed", Span),
    ("gen_ai.request.stream", Span),
    ("gen_ai.request.reasoning.level", Span),
    ("gen_ai.request.previous_response.id", Span),
    ("gen_ai.request.stream_cursor", No(RESPONSES)),
    ("gen_ai.response.id", Span),
    ("gen_ai.response.model", Span),
    ("gen_ai.response.finish_reasons", Span),
    ("gen_ai.response.status", No(RESPONSES)),
    ("gen_ai.response.time_to_first_chunk", Span),
    ("gen_ai.usage.input_tokens", Span),
    ("gen_ai.usage.cache_read.input_tokens", Span),
    ("gen_ai.usage.cache_creation.input_tokens", Span),
    ("gen_ai.usage.output_tokens", Span),
    ("gen_ai.usage.reasoning.output_tokens", Span),
    ("gen_ai.token.type", Metric),
    ("gen_ai.conversation.id", Span),
    ("gen_ai.conversation.compacted", No("no dialect served says so")),
    ("gen_ai.agent.id", No(AGENT)),
    ("gen_ai.agent.name", No(AGENT)),
    ("gen_ai.agent.description", No(AGENT)),
    ("gen_ai.agent.version", No(AGENT)),
    ("gen_ai.tool.name", No(TOOL)),
    ("gen_ai.tool.call.id", No(TOOL)),
    ("gen_ai.tool.description", No(TOOL)),
    ("gen_ai.tool.type", No(TOOL)),
    ("gen_ai.tool.call.arguments", No(TOOL)),
    ("gen_ai.tool.call.result", No(TOOL)),
    ("gen_ai.tool.definitions", No(TOOLS)),
    ("gen_ai.data_source.id", No(RETRIEVAL)),
    ("gen_ai.operation.name", Span),
    ("gen_ai.output.type", Span),
    ("gen_ai.embeddings.dimension.count", Span),
    ("gen_ai.retrieval.documents", No(RETRIEVAL)),
    ("gen_ai.retrieval.query.text", No(RETRIEVAL)),
    ("gen_ai.retrieval.top_k", No(RETRIEVAL)),
    ("gen_ai.memory.store.id", No(MEMORY)),
    ("gen_ai.memory.record.id", No(MEMORY)),
    ("gen_ai.memory.record.count", No(MEMORY)),
    ("gen_ai.memory.query.text", No(MEMORY)),
    ("gen_ai.memory.records", No(MEMORY)),
    ("gen_ai.system_instructions", Content),
    ("gen_ai.input.messages", Content),
    ("gen_ai.output.messages", Content),
    ("gen_ai.evaluation.name", Event),
    ("gen_ai.evaluation.score.value", Event),
    ("gen_ai.evaluation.score.label", No(EVALUATION)),
    ("gen_ai.evaluation.explanation", No(EVALUATION)),
    ("gen_ai.prompt.name", No(PROMPTS)),
    ("gen_ai.prompt.version", No(PROMPTS)),
    ("gen_ai.prompt.variable", No(PROMPTS)),
    ("gen_ai.workflow.name", No("a label that a client declares serves instead")),
    ("openai.request.service_tier", Span),
    ("openai.api.type", Span),
    ("openai.response.service_tier", Span),
    ("openai.response.system_fingerprint", Span),
    ("mcp.method.name", No(MCP)),
    ("mcp.session.id", No(MCP)),
    ("mcp.resource.uri", No(MCP)),
    ("mcp.protocol.version", No(MCP)),
    ("aws.bedrock.guardrail.id", No("no guardrail is asked for at Bedrock")),
    ("aws.bedrock.knowledge_base.id", No("knowledge bases are not used")),
];
