//! What a request's headers say: whose it is, which API it calls, and whether its body is worth waiting for. What needs
//! no provider, the list of models, is answered from here; what needs its body waits for [`super::judge`].

use std::borrow::Cow;

use weir_sorted::trim;
use weir_wire::json::Writer;

use super::{Admitted, Exchange, State};
use crate::feedback;
use crate::identity;
use crate::io::{Effect, Headers, Now, Reply, Step};
use crate::paths::{self, Api, Named, Path};
use crate::policy::{Caller, Policy};
use crate::prompt;
use crate::refusal::Refusal;
use crate::span::{TraceContext, hex};
use crate::trace::Stage;
use weir_config::filter::UnknownPaths;

impl Exchange {
    pub(super) fn request_headers(
        &mut self,
        now: Now,
        headers: &Headers<'_>,
        end: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        self.span.start = now.0;
        self.span.context = TraceContext::continued(headers.get("traceparent"), &self.entropy);
        if self.span.context.parent.is_some() {
            self.span.tracestate = tracestate(headers);
        }
        let [.., tail] = self.entropy;
        self.span.id.push_str("req_");
        hex(&mut self.span.id, &self.span.context.span);
        hex(&mut self.span.id, &tail.to_be_bytes());

        let Some(policy) = self.policy.clone() else {
            return Err(Refusal::server(
                503,
                "no_policy",
                "this gateway has received no policy yet: try again in a moment",
            )
            .header("retry-after", "1"));
        };
        self.span.policy = policy.config.version.clone();
        self.span.context.sample(policy.config.telemetry.sample);
        self.keeps(&policy, &Caller::default(), "");

        let method = headers.get(":method").unwrap_or_default();
        let path = headers.get(":path").unwrap_or_default();
        self.api = Api::of_path(path);
        if headers.bytes("anthropic-version").is_some() && path.starts_with(Api::Models.path()) {
            self.api = Api::AnthropicMessages;
        }
        if path == feedback::PATH && policy.config.telemetry.otlp_cluster.is_some() {
            return self.opinion(&policy, headers, now);
        }
        let api = match paths::classify(method, path) {
            Path::Served(api) => api,
            Path::Unknown if policy.config.unknown_paths == UnknownPaths::Pass => {
                strip(headers, &[], effects);
                self.state = State::Passing;
                return Ok(Step::Continue);
            }
            Path::Method(allowed) => {
                return Err(Refusal::request(
                    405,
                    "method_not_allowed",
                    format!("use {allowed} for this path"),
                )
                .header("allow", allowed));
            }
            Path::Unserved | Path::Unknown => {
                return Err(Refusal::request(
                    404,
                    "unknown_path",
                    format!("this path is not served; served are: {}", paths::SERVED),
                ));
            }
        };
        self.span.operation = api.operation();
        // Whose API was called, until it is known who answers.
        self.span.provider = match api {
            _ if api.aws() => "aws.bedrock",
            _ if api.anthropic() => "anthropic",
            _ => "openai",
        }
        .to_owned();
        if headers.bytes("upgrade").is_some() {
            return Err(Refusal::request(
                400,
                "upgrade_not_supported",
                "this path does not take protocol upgrades",
            ));
        }

        let (mut caller, signed) = identity::identify(&policy, headers, now)?;
        self.trace.note(Stage::Identity, || format!("tenant {}, key {}", caller.name, caller.key));
        for name in &policy.config.client_labels {
            let mut header = String::from("x-weir-label-");
            header.push_str(name);
            // Control characters separate the parts of a counter's subject.
            let usable = |v: &&str| v.len() <= 256 && !v.bytes().any(|b| b < b' ');
            if let Some(value) = headers.get(&header).filter(usable) {
                // What the policy gave a tenant or key is not the client's to change.
                if !caller.labels.contains_key(name) {
                    caller.labels.insert(name.clone(), value.to_owned());
                }
            }
        }
        self.span.tenant.clone_from(&caller.name);
        self.span.key.clone_from(&caller.key);
        self.declared(&policy, &caller, headers);
        self.keeps(&policy, &caller, "");
        for name in &policy.config.telemetry.labels {
            if let Some(value) = caller.labels.get(name) {
                self.span.labels.push((name.clone(), value.clone()));
            }
        }

        if api == Api::Models {
            if let Some(signed) = &signed {
                signed.verify(b"").map_err(identity::unsigned)?;
            }
            let reply = self.models(&policy, &caller, now);
            self.span.status = reply.status;
            self.state = State::Refused;
            effects.push(Effect::Reply(reply));
            return Ok(Step::Pause);
        }

        let kind = headers.get("content-type").unwrap_or_default();
        let kind = trim(kind.split(';').next().unwrap_or_default());
        // Of InvokeModel's body boto3 says only that it is bytes.
        let bytes = api == Api::BedrockInvoke && matches!(kind, "" | "application/octet-stream");
        if !bytes && !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::request(
                415,
                "unsupported_media_type",
                "send the body as `content-type: application/json`",
            ));
        }
        if headers.get("content-encoding").is_some_and(|e| !trim(e).eq_ignore_ascii_case("identity")) {
            return Err(Refusal::request(
                415,
                "unsupported_content_encoding",
                "send the body uncompressed: it cannot be judged otherwise",
            ));
        }
        let length = headers.get("content-length").and_then(|l| trim(l).parse::<u64>().ok());
        self.fits(length.unwrap_or(0))?;
        if end {
            prompt::parse(b"")?;
        }
        strip(headers, &["accept-encoding"], effects);
        self.state = State::Body(Box::new(Admitted {
            caller,
            api,
            scheme: headers.get(":scheme").unwrap_or("http").to_owned(),
            anthropic: if api.anthropic() { asked_of_anthropic(headers) } else { Default::default() },
            signed,
            named: if api.aws() { Named::read(path) } else { None },
            extra: if api == Api::BedrockInvoke { asked_of_bedrock(headers) } else { String::new() },
        }));
        Ok(Step::Pause)
    }

    pub(super) fn fits(&self, size: u64) -> Result<(), Refusal> {
        let max = self.policy.as_ref().map_or(0, |p| p.config.max_body);
        if max > 0 && size > max {
            return Err(Refusal::request(
                413,
                "request_too_large",
                format!("the body has {size} bytes; the limit is {max}"),
            ));
        }
        Ok(())
    }

    /// `count_tokens`, answered here.
    pub(super) fn counted(&mut self, tokens: u64) -> Reply {
        let mut w = Writer::new(Vec::new());
        w.begin_object().key("input_tokens").u64(tokens).end_object();
        self.span.status = 200;
        self.state = State::Refused;
        let headers = vec![("content-type", "application/json".to_owned())];
        let mut reply = Reply { status: 200, headers, body: w.into_inner() };
        self.show(&mut reply);
        reply
    }

    /// `GET /v1/models`: what this tenant may use.
    fn models(&self, policy: &Policy, caller: &Caller, now: Now) -> Reply {
        let allowed = policy.tenant(caller).map(|t| t.models.as_slice()).unwrap_or_default();
        let mut ids: Vec<&str> = Vec::new();
        for name in allowed {
            ids.push(name);
            for alias in policy.model(name).map(|model| model.aliases.as_slice()).unwrap_or_default() {
                ids.push(alias);
            }
        }
        let mut w = Writer::new(Vec::new());
        w.begin_object().key("object").str("list").key("data").begin_array();
        for id in &ids {
            w.begin_object().key("id").str(id).key("object").str("model");
            w.key("created").u64(now.seconds()).key("owned_by").str("weir");
            if self.api.anthropic() {
                // The API allows the epoch where nobody knows better.
                w.key("type").str("model").key("display_name").str(id);
                w.key("created_at").str("1970-01-01T00:00:00Z");
            }
            w.end_object();
        }
        w.end_array();
        if self.api.anthropic() {
            w.key("has_more").bool(false);
            for (key, id) in [("first_id", ids.first()), ("last_id", ids.last())] {
                w.key(key);
                match id {
                    Some(id) => w.str(id),
                    None => w.null(),
                };
            }
        }
        w.end_object();
        let mut reply = Reply {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: w.into_inner(),
        };
        self.show(&mut reply);
        reply
    }
}

/// The version and the betas that a client of Anthropic's API asks for, where they are words that a header may have.
fn asked_of_anthropic(headers: &Headers<'_>) -> (String, String) {
    let word = |name: &str| {
        let usable = |v: &&str| v.len() <= 1024 && v.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        headers.get(name).filter(usable).unwrap_or_default().to_owned()
    };
    (word("anthropic-version"), word("anthropic-beta"))
}

/// The headers of InvokeModel that Bedrock reads, as lines.
fn asked_of_bedrock(headers: &Headers<'_>) -> String {
    let mut out = String::new();
    for (name, value) in headers.0 {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else { continue };
        let usable = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if name.starts_with("x-amzn-bedrock-") && usable && out.len() + value.len() < 8192 {
            out.push_str(&[name, ": ", value, "\n"].concat());
        }
    }
    out
}

/// The caller's trace state, which may stand in several fields; what is absurdly long is left out.
fn tracestate(headers: &Headers<'_>) -> String {
    let mut out = String::new();
    for state in headers.all("tracestate").filter_map(|state| std::str::from_utf8(state).ok()) {
        if out.len() + state.len() < 4096 {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(state);
        }
    }
    out
}

/// Removes what a client must not say to this gateway or to a provider.
fn strip(headers: &Headers<'_>, also: &[&'static str], effects: &mut Vec<Effect>) {
    for (name, _) in headers.0 {
        // Envoy lets none pass that is not ASCII.
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if name.starts_with("x-weir-") || name.starts_with("x-envoy-") {
            effects.push(Effect::RemoveRequestHeader(Cow::Owned(name.to_owned())));
        }
    }
    for name in also {
        if headers.bytes(name).is_some() {
            effects.push(Effect::RemoveRequestHeader(Cow::Borrowed(name)));
        }
    }
}
