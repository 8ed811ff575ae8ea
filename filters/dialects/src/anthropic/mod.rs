//! Anthropic's Messages API. As client side: [`read`] the facts of a request, visit its [`texts`], bound and
//! [count](prompt_tokens) it, [`decode`] it for another dialect, write [answers](encode_answer),
//! [streams](StreamEncoder) and [errors](error). As provider side: [`encode`] a hub chat, read
//! [answers](decode_answer), [streams](StreamDecoder) and [errors](decode_error). What passes is read where it stands
//! ([answers](read_answer), [events](read_event_into)), into the forms that OpenAI's chat has for it.
//!
//! A `thinking` block that carries a signature is the provider's own word: it is never shown to redaction and never
//! altered, in neither direction.

mod answer;
mod decode;
mod encode;
mod errors;
mod request;
mod stream_decode;
mod stream_read;
mod stream_write;
mod texts;

pub use answer::{decode_answer, encode_answer, read_answer};
pub use decode::decode;
pub use encode::encode;
pub use errors::{decode_error, error, failure, stream_failure};
pub use request::{byte_bound, prompt_tokens, read, read_named};
pub use stream_decode::StreamDecoder;
pub use stream_read::{read_event_into, text_event};
pub use stream_write::{StreamEncoder, refused};
pub use texts::texts;
