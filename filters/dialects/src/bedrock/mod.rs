//! Amazon Bedrock's Converse and ConverseStream, as provider side: [`encode`] a hub chat into path and body, read
//! [answers](decode_answer), [streams](StreamDecoder) and [errors](decode_error). [`decode`] reads a Converse
//! request into the hub. Signing is not here: it covers the bytes that this makes.

mod answer;
mod blocks;
mod decode;
mod encode;
mod errors;
mod family;
mod names;
mod stream;
mod turns;

pub use answer::decode_answer;
pub use decode::decode;
pub use encode::{Encoded, encode};
pub use errors::decode_error;
pub(crate) use errors::too_long;
pub use family::path;
pub(crate) use family::{Effort, Family, effort};
pub use names::Renames;
pub use stream::StreamDecoder;
pub(crate) use turns::{Block, Piece, at, plan};
