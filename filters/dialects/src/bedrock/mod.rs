//! Amazon Bedrock's Converse and ConverseStream. As client side: [`read`] the facts of a request, visit its [`texts`],
//! bound and [count](prompt_tokens) it, [`decode`] it for another dialect, write [answers](encode_answer),
//! [streams](StreamEncoder) and [errors](error). As provider side: [`encode`] a hub chat into path and body, read
//! [answers](decode_answer), [streams](StreamDecoder) and [errors](decode_error). What passes is read where it stands
//! ([answers](read_answer), [events](read_event_into)). Signing is not here: it covers the bytes that this makes.
//!
//! InvokeModel's bodies are the models' own: Anthropic's are `anthropic`'s business, in [frames](invoke) of their own;
//! of others only ceiling and usage are understood.

mod answer;
mod blocks;
mod decode;
mod encode;
mod errors;
mod family;
pub mod invoke;
mod names;
mod request;
mod stream;
mod stream_read;
mod stream_write;
mod texts;
mod turns;

pub use answer::{decode_answer, encode_answer, read_answer, read_any};
pub(crate) use blocks::{arguments_of, not_accepted, unsupported};
pub use decode::decode;
pub use encode::{Encoded, encode};
pub(crate) use encode::{is_said, lose_sampling, one_answer};
pub(crate) use errors::too_long;
pub use errors::{class_of, decode_error, error};
pub(crate) use family::{Effort, Family, effort};
pub use family::{invoke_path, is_claude, path};
pub use names::Renames;
pub use request::{byte_bound, prompt_tokens, read, read_invoke};
pub use stream::StreamDecoder;
pub use stream_read::{read_event_into, read_invoke_into, text_event};
pub use stream_write::{StreamEncoder, exception, frame, refused};
pub use texts::{all, texts};
pub(crate) use turns::{Block, Piece, at, plan};
