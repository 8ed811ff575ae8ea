//! Between the client's dialect and the provider's, where they differ: the request one way, the answer, the stream
//! and the error the other. What each dialect makes of the hub is its own business; here they are only paired.

use weir_config::filter::ProviderKind;
use weir_dialects::bedrock::{Encoded, Renames};
use weir_dialects::hub::{Event, Failure, Invalid};
use weir_dialects::openai_chat::AnswerContext;
use weir_dialects::{anthropic, bedrock, openai_chat};
use weir_wire::json::{self, Limits};

use crate::paths::Api;
use crate::refusal::Refusal;

/// Whether a client's API and a provider's are two dialects.
pub fn needed(api: Api, kind: ProviderKind) -> bool {
    match kind {
        ProviderKind::Bedrock => true,
        ProviderKind::Anthropic => !api.anthropic(),
        ProviderKind::Vllm | ProviderKind::Openai => api.anthropic(),
    }
}

/// The request for a provider, losses of both ways in it.
pub fn request(api: Api, kind: ProviderKind, body: &[u8], model: &str) -> Result<Encoded, Refusal> {
    let Ok(doc) = json::parse(body, &Limits::default()) else { return Err(unreadable_body()) };
    let invalid = |e: Invalid| Refusal::request(400, e.code, e.message).at(&e.param);
    let decoded = match api {
        Api::OpenaiChat => openai_chat::decode(&doc),
        Api::AnthropicMessages => anthropic::decode(&doc),
        Api::OpenaiCompletions | Api::AnthropicCount | Api::Models => {
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                "this API cannot be carried to a provider of another dialect",
            ));
        }
    };
    let (mut chat, mut losses) = decoded.map_err(invalid)?;
    let mut encoded = match kind {
        ProviderKind::Bedrock => bedrock::encode(&chat, model).map_err(invalid)?,
        ProviderKind::Anthropic => anthropic::encode(&chat, model).map_err(invalid)?,
        ProviderKind::Vllm | ProviderKind::Openai => {
            model.clone_into(&mut chat.model);
            let (body, losses) = openai_chat::encode(&chat, kind == ProviderKind::Vllm);
            let path = Api::OpenaiChat.path().to_owned();
            Encoded { path, body, losses, renames: Renames::default() }
        }
    };
    losses.append(&mut encoded.losses);
    encoded.losses = losses;
    Ok(encoded)
}

/// A body that is not the one that was judged.
pub fn unreadable_body() -> Refusal {
    Refusal::server(
        500,
        "body_changed",
        "the body changed between weir's filters: no other filter may edit it",
    )
}

/// A whole answer, as the client reads it.
pub fn answer(
    api: Api,
    kind: ProviderKind,
    body: &[u8],
    renames: &Renames,
    context: &AnswerContext,
) -> Result<Vec<u8>, Failure> {
    let answer = match kind {
        ProviderKind::Bedrock => bedrock::decode_answer(body, renames)?,
        ProviderKind::Anthropic => anthropic::decode_answer(body, renames)?,
        ProviderKind::Vllm | ProviderKind::Openai => openai_chat::decode_answer(body)?,
    };
    Ok(if api.anthropic() {
        anthropic::encode_answer(&answer, context)
    } else {
        openai_chat::encode_answer(&answer, context)
    })
}

/// A provider's error. `class` is Bedrock's header.
pub fn error(kind: ProviderKind, status: u16, class: Option<&str>, body: &[u8]) -> Failure {
    match kind {
        ProviderKind::Bedrock => bedrock::decode_error(status, class, body),
        ProviderKind::Anthropic => anthropic::decode_error(status, body),
        ProviderKind::Vllm | ProviderKind::Openai => openai_chat::decode_error(status, body),
    }
}

/// A failure, as the client reads it.
pub fn failure(api: Api, failure: &Failure) -> Vec<u8> {
    if api.anthropic() { anthropic::failure(failure) } else { openai_chat::failure(failure) }
}

/// A stream between two dialects.
pub struct Stream {
    decoder: Decoder,
    encoder: Encoder,
}

enum Decoder {
    Chat(openai_chat::StreamDecoder),
    Messages(anthropic::StreamDecoder),
    Converse(bedrock::StreamDecoder),
}

enum Encoder {
    Chat(openai_chat::StreamEncoder),
    Messages(anthropic::StreamEncoder),
}

impl Stream {
    /// A stream of the provider's kind for a client of this API.
    pub fn new(api: Api, kind: ProviderKind, renames: Renames, context: &AnswerContext, usage: bool) -> Self {
        let decoder = match kind {
            ProviderKind::Bedrock => Decoder::Converse(bedrock::StreamDecoder::new(renames)),
            ProviderKind::Anthropic => Decoder::Messages(anthropic::StreamDecoder::new(renames)),
            ProviderKind::Vllm | ProviderKind::Openai => Decoder::Chat(openai_chat::StreamDecoder::default()),
        };
        let encoder = if api.anthropic() {
            Encoder::Messages(anthropic::StreamEncoder::new(context))
        } else {
            Encoder::Chat(openai_chat::StreamEncoder::new(context, usage))
        };
        Self { decoder, encoder }
    }

    /// The events that these bytes complete; with `end` those that the end brings.
    pub fn read(&mut self, chunk: &[u8], end: bool, events: &mut Vec<Event>) {
        match &mut self.decoder {
            Decoder::Chat(decoder) => decoder.push(chunk, events),
            Decoder::Messages(decoder) => decoder.push(chunk, events),
            Decoder::Converse(decoder) => decoder.push(chunk, events),
        }
        if end {
            match &mut self.decoder {
                Decoder::Chat(decoder) => decoder.finish(events),
                Decoder::Messages(decoder) => decoder.finish(events),
                Decoder::Converse(decoder) => decoder.finish(events),
            }
        }
    }

    /// Appends what the client reads of them.
    pub fn write(&mut self, events: &[Event], out: &mut Vec<u8>) {
        for event in events {
            match &mut self.encoder {
                Encoder::Chat(encoder) => encoder.event(event, out),
                Encoder::Messages(encoder) => encoder.event(event, out),
            }
        }
    }
}
