//! Events of our own in a stream, in the client's dialect and its frames: an event written anew, a text that was held
//! back, a failure.

use weir_dialects::hub::Failure;
use weir_dialects::openai_chat::Slot;
use weir_dialects::{anthropic, bedrock, openai_chat, openai_responses};

use crate::paths::Api;

/// A failure of the stream as the client reads it.
pub(super) fn tell_failure(
    api: Api,
    sequence: u64,
    status: u16,
    code: &str,
    message: &str,
    out: &mut Vec<u8>,
) {
    if api.aws() {
        let failure = Failure { status, code: Some(code.into()), ..Failure::unreadable(message) };
        bedrock::exception(&failure, out);
    } else if api.anthropic() {
        emit(api, Some(b"error"), &anthropic::error(status, Some(code), message, None), out);
    } else if api == Api::OpenaiResponses {
        let failure = Failure { status, code: Some(code.into()), ..Failure::unreadable(message) };
        openai_responses::stream_error(&failure, sequence, out);
    } else {
        emit(api, None, &openai_chat::error(status, "server_error", Some(code), message, None), out);
    }
}

pub(super) fn emit(api: Api, name: Option<&[u8]>, payload: &[u8], out: &mut Vec<u8>) {
    if api == Api::BedrockConverse {
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
        return bedrock::frame(name, payload, out);
    }
    if api.aws() {
        return bedrock::invoke::chunk(payload, out);
    }
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\n\n");
}

/// A delta that carries only this text.
pub(super) fn delta(api: Api, choice: u32, slot: Slot, text: &[u8]) -> Vec<u8> {
    if api == Api::BedrockConverse {
        return bedrock::text_event(choice, slot, text);
    }
    if api.messages() {
        return anthropic::text_event(choice, slot, text);
    }
    let (before, after) = match (api, slot) {
        (Api::OpenaiCompletions, _) => {
            (format!("{{\"index\":{choice},\"logprobs\":null,\"finish_reason\":null,\"text\":"), "}")
        }
        (_, Slot::Content) => ("{\"content\":".to_owned(), "}"),
        (_, Slot::Reasoning) => ("{\"reasoning_content\":".to_owned(), "}"),
        (_, Slot::Refusal) => ("{\"refusal\":".to_owned(), "}"),
        (_, Slot::Tool(index)) => {
            (format!("{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":"), "}}]}")
        }
    };
    let mut out = before.into_bytes();
    out.extend_from_slice(text);
    out.extend_from_slice(after.as_bytes());
    out
}
