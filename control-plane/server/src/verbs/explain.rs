//! `weir explain`: what would happen to a request under a policy, stage by stage, from the same core that judges it in
//! the gateway. Nothing is sent, nothing is reserved.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use weir_pipeline::io::{Effect, Headers, Input, Now};
use weir_pipeline::plan::{PLAN, Plan};
use weir_pipeline::{Exchange, Policy};

use crate::source::load;
use crate::{Failure, tokenizers};

/// Show stage by stage what would happen to a request.
#[derive(Debug, Args)]
pub struct Explain {
    /// The policy file.
    file: PathBuf,
    /// A request body as a file of JSON, or, with `--model`, the text of one user message.
    request: String,
    /// The caller's API key.
    #[arg(short, long)]
    key: Option<String>,
    /// The model that is asked for.
    #[arg(short, long)]
    model: Option<String>,
    /// A label that the client sets, NAME=VALUE; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The path that the request goes to.
    #[arg(long, value_name = "PATH", default_value = "/v1/chat/completions")]
    path: String,
    /// The control plane's data folder: tokenizers that were added there are known.
    #[arg(long, value_name = "DIR", default_value = "weir-data")]
    data: PathBuf,
}

impl Explain {
    pub fn run(self) -> Result<(), Failure> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|why| Failure::new(format!("{}: {why}", path.display())))
        };
        tokenizers::know(&self.data)?;
        let known = tokenizers::expected(&self.data);
        let loaded = load(&self.file, &read(&self.file)?, "explain", None, &known)
            .map_err(|refused| refused.failure(&self.file))?;
        let policy = Policy::new(loaded.compiled.exchange)
            .map_err(|why| Failure::new(format!("{}: {why}", self.file.display())))?;
        let body = match &self.model {
            Some(model) => serde_json::json!({
                "model": model,
                "messages": [{"role": "user", "content": self.request}],
            })
            .to_string(),
            None => read(&PathBuf::from(&self.request))?,
        };
        let mut headers = vec![
            (":method".to_owned(), "POST".to_owned()),
            (":path".to_owned(), self.path),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        if let Some(key) = &self.key {
            headers.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        for label in &self.label {
            let Some((name, value)) = label.split_once('=') else {
                return Err(Failure::new(format!("label `{label}`: write NAME=VALUE")));
            };
            headers.push((format!("x-weir-label-{name}"), value.to_owned()));
        }
        print!("{}", told(policy, &headers, body.as_bytes()));
        Ok(())
    }
}

/// The request's story.
pub fn told(mut policy: Policy, headers: &[(String, String)], body: &[u8]) -> String {
    let fields: Vec<(&[u8], &[u8])> = headers.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let now = Now(clock);
    // Whoever asks wants to know the count, whether or not it decides.
    policy.config.telemetry.count = true;
    let mut exchange = Exchange::new(Some(Rc::new(policy))).explained();
    let mut effects = Vec::new();
    exchange.handle(
        now,
        // Weighted choices follow the clock here, as they follow chance in the gateway.
        Input::RequestHeaders { headers: Headers(&fields), end: false, entropy: [clock, 1, 2, 3] },
        &mut effects,
    );
    if !effects.iter().any(|e| matches!(e, Effect::Reply(_))) {
        exchange.handle(now, Input::RequestBody { body, size: body.len(), end: true }, &mut effects);
    }
    // Detectors outside are not asked: the story goes on as if they found nothing.
    while let Some(Effect::Ask(ask)) = effects.pop_if(|e| matches!(e, Effect::Ask(_))) {
        exchange.handle(now, Input::Asked { id: ask.id, answer: Some((200, b"[]")) }, &mut effects);
    }
    if effects.iter().any(|e| matches!(e, Effect::Reserve(_) | Effect::Try(_))) {
        exchange.handle(now, Input::Reserved(Ok(Default::default())), &mut effects);
    }

    let mut out = String::new();
    for (stage, note) in exchange.trace().notes() {
        out.push_str(&format!("{:<11} {note}\n", stage.name()));
    }
    let (mut sent, mut plan) = (None, None);
    for effect in &effects {
        match effect {
            Effect::Reply(reply) => {
                out.push_str(&format!(
                    "refused     {} {}\n",
                    reply.status,
                    String::from_utf8_lossy(&reply.body)
                ));
                return out;
            }
            Effect::RequestBody(bytes) => sent = Some(bytes.as_slice()),
            Effect::State(key, bytes) if *key == PLAN => plan = Plan::decode(bytes),
            _ => {}
        }
    }
    for (i, leg) in plan.iter().flat_map(|p| &p.legs).enumerate() {
        out.push_str(&format!("try {}       {} as `{}`\n", i + 1, leg.provider, leg.model));
    }
    match sent {
        Some(bytes) => out.push_str(&format!("body        {}\n", String::from_utf8_lossy(bytes))),
        None => out.push_str("body        as the client sent it\n"),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = include_str!("../../../../envoy/first.yaml");

    fn tell(key: &str, body: &str) -> String {
        tell_under(POLICY, key, body)
    }

    fn tell_under(policy: &str, key: &str, body: &str) -> String {
        let loaded = load("policy.yaml".as_ref(), policy, "test", None, &tokenizers::of_module(None))
            .unwrap_or_else(|_| panic!("first.yaml must load"));
        let headers = [
            (":method", "POST"),
            (":path", "/v1/chat/completions"),
            ("content-type", "application/json"),
            ("authorization", &format!("Bearer {key}")),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        told(Policy::new(loaded.compiled.exchange).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn a_request_is_told_from_identity_to_the_body_that_leaves() {
        let story = tell(
            "key",
            r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"mail jane@example.org"}]}"#,
        );
        for part in [
            "identity    tenant acme",
            "redaction   found",
            "route ",
            "targets ",
            "tokens ",
            "budgets ",
            "try 1       gpu-pool",
        ] {
            assert!(story.contains(part), "`{part}` is missing in\n{story}");
        }
        assert!(!story.contains("jane@example.org"), "the value is shown nowhere:\n{story}");
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let story = tell("nobody", r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]}"#);
        assert!(story.contains("refused     401"), "{story}");
    }

    #[test]
    fn what_providers_are_told_of_the_tenant_is_shown_and_no_secret() {
        let secret = std::env::temp_dir().join(format!("weir-explain-{}", std::process::id()));
        std::fs::write(&secret, "0123456789abcdef").unwrap();
        let secret_of = format!("{{file: {}}}", secret.display());
        let policy = POLICY.replace("  kind: vllm ", &format!("  cache_salt: {secret_of}\n  kind: vllm "));
        let policy = policy.replace("  kind: bedrock", "  request_metadata: tenant\n  kind: bedrock");
        let asked = format!("telemetry:\n  end_user: {{key: {secret_of}}}\n");
        let policy = policy.replace("telemetry:\n", &asked);
        let body = r#"{"model":"gpt-4o-mini","user":"ann","messages":[{"role":"user","content":"x"}]}"#;
        let story = tell_under(&policy, "key", body);
        std::fs::remove_file(&secret).unwrap();
        for part in [
            "targets     gpu-pool gets the cache_salt of tenant acme",
            r#"targets     bedrock gets requestMetadata {"tenant":"acme"}"#,
            "tokens      by bytes: user 100 %",
            "identity    end user ",
        ] {
            assert!(story.contains(part), "`{part}` is missing in\n{story}");
        }
    }

    #[test]
    fn detectors_outside_are_named_and_not_asked() {
        let rule = "analyzer: {url: http://127.0.0.1:5002, find: person, do: mask}";
        let policy = format!("{POLICY}\nguardrails: [{{name: names, when: {{tenant: acme}}, {rule}}}]\n");
        let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"system","content":"Hi"},{"role":"user","content":"Ann"}]}"#;
        let story = tell_under(&policy, "key", body);
        assert!(story.contains("redaction   2 texts are shown to names, which is not asked here"), "{story}");
        assert!(story.contains("try 1 "), "the story goes on as if nothing was found:\n{story}");
    }
}
