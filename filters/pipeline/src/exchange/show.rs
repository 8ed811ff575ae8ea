//! What a span shows of what was said, where the policy asks for it: the request as it leaves, the answer as it came.
//! Where it is not proven that nothing is left of what the policy hides, nothing is shown, and the span says why.

use weir_wire::json::Value;

use super::Exchange;
use crate::answer::Answer;
use crate::content::{self, Content};
use crate::parts;
use crate::paths::Api;
use crate::policy::{Caller, Policy};
use crate::trace::Stage;

impl Exchange {
    /// Keeps what the span shows of a request that is redacted.
    pub(super) fn show_request(
        &mut self,
        policy: &Policy,
        caller: &Caller,
        api: Api,
        asked: &str,
        root: Value<'_, '_>,
    ) {
        (self.shown, self.span.content) = (None, None);
        let says = !matches!(api, Api::OpenaiEmbeddings | Api::AnthropicCount | Api::Models);
        if !policy.config.telemetry.content || !says || !self.span.context.sampled() {
            return;
        }
        let noted = self.span.events.iter().any(|event| event.about.0 == "weir.unsearched");
        let set = match api {
            // Which of its strings are texts nobody here knows.
            Api::BedrockModel => Err("dialect"),
            _ if noted || self.known.gap() => Err("unsearched"),
            _ => policy.shown(caller, asked),
        };
        let content = match &set {
            Ok(set) => content::request(root, set),
            Err(omitted) => Content { omitted, ..Content::default() },
        };
        self.trace.note(Stage::Redaction, || match content.omitted {
            "" => format!("{} bytes of the request in its span", content.system.len() + content.input.len()),
            why => format!("its span shows no content: {why}"),
        });
        self.shown = set.ok();
        self.span.content = Some(Box::new(content));
    }

    /// Keeps what the prompt is made of.
    pub(super) fn apportion(&mut self, policy: &Policy, root: Value<'_, '_>) {
        if policy.config.telemetry.otlp_cluster.is_none() {
            return;
        }
        self.span.parts = parts::parts(root);
        let parts = &self.span.parts;
        self.trace.note(Stage::Tokens, || {
            let hundred = parts::shares(parts, 100).unwrap_or_default();
            let told =
                parts::PARTS.iter().zip(hundred).filter(|(_, share)| *share > 0).map(|(part, share)| {
                    format!(" {} {share} %", part.rsplit('.').next().unwrap_or_default().replace('_', " "))
                });
            format!("by bytes:{}", told.collect::<Vec<_>>().join(","))
        });
    }

    /// Adds what the span shows of an answer.
    pub(super) fn show_answer(&mut self, answer: &Answer, blocked: bool) {
        let Some(content) = self.span.content.as_mut().filter(|_| self.shown.is_some()) else { return };
        match answer.shown() {
            Some((output, cut)) => {
                content.output = output;
                content.cut |= cut;
            }
            None if blocked => content.omitted = "blocked",
            None if self.span.status < 400 && matches!(answer, Answer::Opaque(_)) => {
                content.omitted = "unsearched"
            }
            None => {}
        }
    }
}
