//! Between the client's dialect and the provider's, where they differ: the request one way, the answer, the stream
//! and the error the other. What each dialect makes of the hub is its own business; here they are only paired.

use weir_config::filter::ProviderKind;
use weir_dialects::bedrock::invoke::{self, Reframe};
use weir_dialects::bedrock::{Encoded, Renames};
use weir_dialects::hub::{Event, Failure, Invalid};
use weir_dialects::openai_chat::AnswerContext;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_responses};
use weir_wire::json::{self, Limits};

use crate::own;
use crate::paths::Api;
use crate::plan::{Leg, Plan};
use crate::refusal::Refusal;

/// Whether a client's API and a provider's are two dialects. `invoke` is Bedrock's InvokeModel.
pub fn needed(api: Api, kind: ProviderKind, invoke: bool) -> bool {
    match kind {
        ProviderKind::Bedrock if invoke => !matches!(api, Api::BedrockInvoke | Api::BedrockModel),
        ProviderKind::Bedrock => api != Api::BedrockConverse,
        ProviderKind::Anthropic => !api.anthropic(),
        ProviderKind::Openai => api.anthropic() || api.aws(),
        ProviderKind::Vllm | ProviderKind::BedrockOpenai => {
            api.anthropic() || api.aws() || api == Api::OpenaiResponses
        }
    }
}

/// Whether both sides speak Anthropic's messages, each in its own envelope.
fn reframes(api: Api, kind: ProviderKind, invoke: bool) -> bool {
    match kind {
        ProviderKind::Bedrock => invoke && api.anthropic(),
        ProviderKind::Anthropic => api == Api::BedrockInvoke,
        ProviderKind::Vllm | ProviderKind::Openai | ProviderKind::BedrockOpenai => false,
    }
}

/// The dialect of a provider.
#[derive(Clone, Copy)]
enum Speech {
    Chat,
    Messages,
    Converse,
}

fn speech(kind: ProviderKind, invoke: bool) -> Speech {
    match kind {
        ProviderKind::Bedrock if !invoke => Speech::Converse,
        ProviderKind::Bedrock | ProviderKind::Anthropic => Speech::Messages,
        ProviderKind::Vllm | ProviderKind::Openai | ProviderKind::BedrockOpenai => Speech::Chat,
    }
}

/// The request for a provider, losses of both ways in it. `echo` is for what every answer to it repeats of it.
pub fn request(
    plan: &Plan,
    leg: &Leg,
    kind: ProviderKind,
    body: &[u8],
    echo: &mut Vec<u8>,
) -> Result<Encoded, Refusal> {
    let (api, model) = (plan.api, leg.model.as_str());
    let in_invoke = |doc: &json::Doc<'_>, beta: &str| Encoded {
        path: bedrock::invoke_path(model, plan.stream),
        body: invoke::from_messages(doc, beta),
        losses: Vec::new(),
        renames: Renames::default(),
    };
    let Ok(doc) = json::parse(body, &Limits::default()) else { return Err(unreadable_body()) };
    let invalid = |e: Invalid| {
        let fault = e.into_fault();
        Refusal::request(400, fault.code, fault.message).at(&fault.param)
    };
    if reframes(api, kind, leg.invoke) {
        if leg.invoke {
            return Ok(in_invoke(&doc, &plan.anthropic.1));
        }
        let body = invoke::to_messages(&doc, model, plan.stream);
        let path = Api::AnthropicMessages.path().to_owned();
        return Ok(Encoded { path, body, losses: Vec::new(), renames: Renames::default() });
    }
    let decoded = match api {
        Api::BedrockConverse => bedrock::decode(&doc, &plan.asked, plan.stream),
        Api::BedrockInvoke => {
            let body = invoke::to_messages(&doc, &plan.asked, plan.stream);
            let Ok(doc) = json::parse(&body, &Limits::default()) else { return Err(unreadable_body()) };
            anthropic::decode(&doc)
        }
        Api::OpenaiChat => openai_chat::decode(&doc),
        Api::OpenaiResponses => {
            *echo = openai_responses::echo(Some(&doc));
            openai_responses::decode(&doc)
        }
        Api::AnthropicMessages => anthropic::decode(&doc),
        Api::OpenaiCompletions
        | Api::OpenaiEmbeddings
        | Api::AnthropicCount
        | Api::BedrockModel
        | Api::Models => {
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                "this API cannot be carried to a provider of another dialect",
            ));
        }
    };
    let (mut chat, mut losses) = decoded.map_err(invalid)?;
    let mut encoded = match speech(kind, leg.invoke) {
        Speech::Converse => {
            if !leg.own.is_empty() {
                own::first(&leg.own, &mut chat.metadata);
            }
            bedrock::encode(&chat, model)
        }
        Speech::Messages => anthropic::encode(&chat, model),
        Speech::Chat => {
            model.clone_into(&mut chat.model);
            let (body, losses) = openai_chat::encode(&chat, kind == ProviderKind::Vllm);
            let path = Api::OpenaiChat.path().to_owned();
            Ok(Encoded { path, body, losses, renames: Renames::default() })
        }
    }
    .map_err(invalid)?;
    if leg.invoke && kind == ProviderKind::Bedrock {
        let Ok(doc) = json::parse(&encoded.body, &Limits::default()) else { return Err(unreadable_body()) };
        let Encoded { path, body, .. } = in_invoke(&doc, "");
        (encoded.path, encoded.body) = (path, body);
    }
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

/// A whole answer, as the client reads it. `echo` is what it repeats of the request.
pub fn answer(
    api: Api,
    (kind, invoke): (ProviderKind, bool),
    body: &[u8],
    renames: &Renames,
    context: &AnswerContext,
    echo: &[u8],
) -> Result<Vec<u8>, Failure> {
    if reframes(api, kind, invoke) {
        return Ok(body.to_vec());
    }
    let answer = match speech(kind, invoke) {
        Speech::Converse => bedrock::decode_answer(body, renames),
        Speech::Messages => anthropic::decode_answer(body, renames),
        Speech::Chat => openai_chat::decode_answer(body),
    }?;
    Ok(if api == Api::BedrockConverse {
        bedrock::encode_answer(&answer)
    } else if api.messages() {
        anthropic::encode_answer(&answer, context)
    } else if api == Api::OpenaiResponses {
        openai_responses::encode_answer(&answer, context, echo)
    } else {
        openai_chat::encode_answer(&answer, context)
    })
}

/// A provider's error. `class` is Bedrock's header.
pub fn error(kind: ProviderKind, status: u16, class: Option<&str>, body: &[u8]) -> Failure {
    match kind {
        ProviderKind::Bedrock => bedrock::decode_error(status, class, body),
        ProviderKind::Anthropic => anthropic::decode_error(status, body),
        ProviderKind::Vllm | ProviderKind::Openai | ProviderKind::BedrockOpenai => {
            openai_chat::decode_error(status, body)
        }
    }
}

/// A failure, as the client reads it.
pub fn failure(api: Api, failure: &Failure) -> Vec<u8> {
    if api.aws() {
        return bedrock::error(failure.code.as_deref(), &failure.message, failure.param.as_deref());
    }
    if api.anthropic() { anthropic::failure(failure) } else { openai_chat::failure(failure) }
}

/// A stream between two dialects.
pub struct Stream {
    decoder: Decoder,
    encoder: Encoder,
    /// Takes the provider's messages out of InvokeModel's envelope.
    unframe: Option<Box<Reframe>>,
    /// Puts messages into it, for the client.
    enframe: Option<Box<Reframe>>,
    /// Nothing but the envelope changes.
    same: bool,
}

enum Decoder {
    Chat(openai_chat::StreamDecoder),
    Messages(anthropic::StreamDecoder),
    Converse(bedrock::StreamDecoder),
}

enum Encoder {
    Chat(openai_chat::StreamEncoder),
    Responses(Box<openai_responses::StreamEncoder>),
    Messages(anthropic::StreamEncoder),
    Converse(bedrock::StreamEncoder),
}

impl Stream {
    /// A stream of the provider's kind for a client of this API.
    pub fn new(
        api: Api,
        (kind, invoke): (ProviderKind, bool),
        renames: Renames,
        context: &AnswerContext,
        usage: bool,
        echo: &[u8],
    ) -> Self {
        let decoder = match speech(kind, invoke) {
            Speech::Converse => Decoder::Converse(bedrock::StreamDecoder::new(renames)),
            Speech::Messages => Decoder::Messages(anthropic::StreamDecoder::new(renames)),
            Speech::Chat => Decoder::Chat(openai_chat::StreamDecoder::default()),
        };
        let encoder = if api == Api::BedrockConverse {
            Encoder::Converse(bedrock::StreamEncoder::default())
        } else if api.messages() {
            Encoder::Messages(anthropic::StreamEncoder::new(context))
        } else if api == Api::OpenaiResponses {
            Encoder::Responses(Box::new(openai_responses::StreamEncoder::new(context, echo)))
        } else {
            Encoder::Chat(openai_chat::StreamEncoder::new(context, usage))
        };
        let reframe = |wanted: bool, into| wanted.then(|| Box::new(Reframe::new(into)));
        let unframe = reframe(kind == ProviderKind::Bedrock && invoke, false);
        let enframe = reframe(api == Api::BedrockInvoke, true);
        Self { decoder, encoder, unframe, enframe, same: reframes(api, kind, invoke) }
    }

    /// The events that these bytes complete; with `end` those that the end brings.
    pub fn read(&mut self, chunk: &[u8], end: bool, events: &mut Vec<Event>) {
        if self.same
            && let Some(reframe) = self.unframe.as_mut().or(self.enframe.as_mut())
        {
            reframe.push(chunk, events);
            if end {
                reframe.finish(events);
            }
            return;
        }
        let mut inner = Vec::new();
        let chunk = match &mut self.unframe {
            Some(reframe) => through(reframe, chunk, &mut inner),
            None => chunk,
        };
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
        if self.same
            && let Some(reframe) = self.unframe.as_mut().or(self.enframe.as_mut())
        {
            return reframe.take(out);
        }
        let mut inner = Vec::new();
        let plain = if self.enframe.is_some() { &mut inner } else { &mut *out };
        for event in events {
            match &mut self.encoder {
                Encoder::Chat(encoder) => encoder.event(event, plain),
                Encoder::Responses(encoder) => encoder.event(event, plain),
                Encoder::Messages(encoder) => encoder.event(event, plain),
                Encoder::Converse(encoder) => encoder.event(event, plain),
            }
        }
        if let Some(reframe) = &mut self.enframe {
            through(reframe, &inner, out);
        }
    }
}

/// Bytes in their other envelope.
fn through<'o>(reframe: &mut Reframe, bytes: &[u8], out: &'o mut Vec<u8>) -> &'o [u8] {
    reframe.push(bytes, &mut Vec::new());
    reframe.take(out);
    out
}
