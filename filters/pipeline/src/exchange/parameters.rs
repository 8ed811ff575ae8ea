//! What a request asks of the model beside its prompt, as its span says it.

use std::borrow::Cow;

use weir_sorted::Gather;
use weir_wire::json::Value;

use super::Exchange;
use crate::paths::Api;
use crate::prompt::Request;

impl Exchange {
    pub(super) fn note_parameters(&mut self, api: Api, request: &Request<'_, '_>, body: Value<'_, '_>) {
        let said = |value: Option<Value<'_, '_>>| value.and_then(|value| value.as_str()).map(Cow::into_owned);
        if api == Api::OpenaiEmbeddings {
            if let Some(format) = said(body.get("encoding_format")) {
                self.span.words.push(("gen_ai.request.encoding_formats", format));
            }
            if let Some(count) = body.get("dimensions").and_then(Value::as_i64) {
                self.span.ints.push(("gen_ai.embeddings.dimension.count", count));
            }
            return;
        }
        if api == Api::OpenaiResponses {
            self.span.words.push(("openai.api.type", "responses".to_owned()));
            if let Some(id) = said(body.get("previous_response_id")) {
                self.span.words.push(("gen_ai.request.previous_response.id", id));
            }
            let conversation = body.get("conversation");
            if let Some(id) = said(conversation.and_then(|it| it.get("id")).or(conversation)) {
                self.span.words.push(("gen_ai.conversation.id", id));
            }
        }
        if let Some(max) = request.ceiling() {
            self.span.ints.push(("gen_ai.request.max_tokens", i64::try_from(max).unwrap_or(i64::MAX)));
        }
        let Request::Chat(chat) = request else { return };
        for (name, value) in [
            ("gen_ai.request.temperature", chat.temperature),
            ("gen_ai.request.top_p", chat.top_p),
            ("gen_ai.request.frequency_penalty", chat.frequency_penalty),
            ("gen_ai.request.presence_penalty", chat.presence_penalty),
        ] {
            if let Some(value) = value {
                self.span.floats.push((name, value));
            }
        }
        if let Some(top_k) = chat.top_k {
            self.span.ints.push(("gen_ai.request.top_k", top_k as i64));
        }
        if let Some(level) = said(chat.reasoning_effort) {
            self.span.words.push(("gen_ai.request.reasoning.level", level));
        }
        if let Some(tier) = said(chat.service_tier).filter(|tier| tier != "auto") {
            self.span.words.push(("openai.request.service_tier", tier));
        }
        let format = body.get("text").and_then(|text| text.get("format"));
        if let Some(format) = body.get("response_format").or_else(|| body.get("output_format")).or(format) {
            let text = format.get("type").is_some_and(|kind| kind.is_str("text"));
            self.span.words.push(("gen_ai.output.type", if text { "text" } else { "json" }.to_owned()));
        }
        if let Some(seed) = chat.seed {
            self.span.ints.push(("gen_ai.request.seed", seed));
        }
        if chat.n != 1 {
            self.span.ints.push(("gen_ai.request.choice.count", i64::try_from(chat.n).unwrap_or(i64::MAX)));
        }
        if let Some(stop) = chat.stop {
            let one = stop.as_str().map(Cow::into_owned);
            self.span.stop = match one {
                Some(one) => vec![one],
                None => stop.items().filter_map(|v| v.as_str()).map(Cow::into_owned).take(16).gather(),
            };
        }
    }
}
