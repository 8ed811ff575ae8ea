//! OpenAI chat completions: the dialect of most applications, of vLLM and of everything "OpenAI-compatible". As
//! client side: [`read`] the facts of a request, visit its [`texts`], [`count`](prompt_tokens) it, [`decode`] it
//! for another dialect, write [answers](encode_answer), [streams](StreamEncoder) and [errors](error). As provider
//! side: read [answers](read_answer) and [stream chunks](read_chunk) where they stand, so that only what must
//! change is spliced. [`encode`] and [`decode_answer`] complete the pair for translation *into* this dialect.
//!
//! Beyond OpenAI's own fields this dialect carries three that its users adopted elsewhere, where the other side
//! has them: `reasoning_content` and `thinking_blocks` on assistant messages, `cache_control` on content parts and
//! tools, and the request fields `thinking` and `top_k`.

mod answer;
mod bound;
mod count;
mod decode;
mod encode;
mod errors;
pub(crate) mod fields;
mod image_tokens;
mod namespace;
mod request;
mod rules;
mod stream_decode;
mod stream_read;
mod stream_write;
mod texts;

pub use answer::{
    AnswerContext, AnswerFacts, AnswerText, decode_answer, encode_answer, read_answer, read_usage,
};
pub use bound::{Overhead, byte_bound, overhead};
pub(crate) use count::chat_tokens;
pub use count::{Count, Tokens, prompt_tokens, prompt_tokens_by, prompt_tokens_of};
pub use decode::decode;
pub(crate) use decode::decode_part;
pub use encode::encode;
pub(crate) use errors::kind_of;
pub use errors::{decode_error, error, failure};
pub use image_tokens::{ImageRule, image_size};
pub use request::{Has, Request, read};
pub(crate) use request::{append, include_usage, look_at_part, model_name, no_object, string};
pub use rules::{Rules, TABLE, ToolRule};
pub use stream_decode::StreamDecoder;
pub use stream_read::{Chunk, ChunkChoice, ChunkText, ECHO, Slot, read_chunk, read_chunk_into, unquote};
pub(crate) use stream_read::{end_of, read_with};
pub use stream_write::{StreamEncoder, stream_error};
#[cfg(test)]
pub(crate) use texts::assert_shown;
pub use texts::{Place, Text, texts};
pub(crate) use texts::{all as all_texts, place_of, strings};
