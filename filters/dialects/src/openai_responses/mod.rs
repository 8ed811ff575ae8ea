//! OpenAI's Responses API, as client side: [`read`] the facts of a request, visit its [`texts`], bound and
//! [count](prompt_tokens) it, [`decode`] it for another dialect, write [answers](encode_answer) and
//! [streams](StreamEncoder). Errors are OpenAI's own, as chat has them. A provider that speaks it is passed through:
//! what passes is read where it stands ([answers](read_answer), [events](read_event_into)), into the forms that chat has
//! for it, so nothing is ever written *into* this dialect for a provider.
//!
//! A reasoning item with `encrypted_content` is the provider's own word: it is never shown to redaction and never
//! altered, in neither direction. Reasoning of another provider travels in such items with its signature.

mod answer;
mod decode;
mod request;
mod stream_read;
mod stream_write;
mod texts;

pub use answer::{echo, encode_answer, read_answer};
pub use decode::decode;
pub use request::{byte_bound, images, own, prompt_tokens, read};
pub use stream_read::{First, first, read_event_into, text_event};
pub use stream_write::{StreamEncoder, refused, stream_error};
pub use texts::texts;
