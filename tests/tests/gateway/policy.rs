//! The policy that tests start from: JSON, which is YAML, for them to change.

use serde_json::{Value, json};

use crate::setup::Ports;

/// The key of tenant `acme`; its digest is in [`policy`].
pub const KEY: &str = "key";
/// The key of tenant `globex`.
pub const OTHER_KEY: &str = "test";
/// vLLM's own credential, which only vLLM may see.
pub const VLLM_KEY: &str = "vllm-only-credential";

const KEY_SHA256: &str = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
const OTHER_KEY_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// vLLM first, Bedrock when it fails.
pub const VLLM_FIRST: &str = "vllm-first";
/// Bedrock first, vLLM when it fails.
pub const BEDROCK_FIRST: &str = "bedrock-first";

/// Two providers, two models that fail over between them in either order, one tenant for each key.
pub fn both_ways(ports: Ports) -> Value {
    let on_vllm = json!({
        "provider": "gpu-pool", "model": "openai/gpt-oss-20b", "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.03, "output": 0.12},
    });
    let on_bedrock = json!({
        "provider": "bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.07, "output": 0.30},
    });
    let then = |target: &Value| {
        let mut target = target.clone();
        target["priority"] = json!(1);
        target
    };
    let on_dead = json!({
        "provider": "dead-pool", "model": "openai/gpt-oss-20b", "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.03, "output": 0.12},
    });
    let on_dead_bedrock = json!({
        "provider": "dead-bedrock", "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "tokenizer": "o200k_harmony", "context": 131_072,
        "supports": ["tools", "json_schema", "images"], "price": {"input": 0.07, "output": 0.30},
    });
    let models = [
        (VLLM_FIRST, &on_vllm, &on_bedrock),
        (BEDROCK_FIRST, &on_bedrock, &on_vllm),
        ("dead-vllm-first", &on_dead, &on_bedrock),
        ("dead-bedrock-first", &on_dead_bedrock, &on_vllm),
    ];
    let names: Vec<&str> = models.iter().map(|(name, ..)| *name).collect();
    let models: Vec<Value> = models
        .iter()
        .map(|(name, first, second)| json!({"name": name, "targets": [first, then(second)]}))
        .collect();
    json!({
        "apiVersion": "weir.dev/v1",
        "gateway": {"listen": format!("127.0.0.1:{}", ports.gateway), "request_timeout": "60s", "headers": "reasons"},
        "providers": [
            {
                "name": "gpu-pool", "kind": "vllm", "region": "dc-frankfurt",
                "endpoints": [format!("http://127.0.0.1:{}", ports.vllm)],
                "auth": {"bearer": {"env": "WEIR_TEST_VLLM_KEY"}},
            },
            {
                "name": "bedrock", "kind": "bedrock", "region": "us-east-1",
                "endpoint": format!("http://127.0.0.1:{}", ports.bedrock), "auth": {"aws": "default"},
            },
            {
                "name": "dead-pool", "kind": "vllm", "region": "dc-frankfurt",
                "endpoints": [format!("http://127.0.0.1:{}", ports.dead)],
            },
            {
                "name": "dead-bedrock", "kind": "bedrock", "region": "us-east-1",
                "endpoint": format!("http://127.0.0.1:{}", ports.dead), "auth": {"aws": "default"},
            },
        ],
        "models": models,
        "retry": {"tries": 2, "on": ["connect", "reset", "429", "5xx"], "first_byte": "30s"},
        "identity": {"from": [{"api_key": {"header": "authorization", "scheme": "bearer"}}]},
        "tenants": [
            {"name": "acme", "keys": [{"id": "acme-web", "sha256": KEY_SHA256}], "models": names},
            {"name": "globex", "keys": [{"id": "globex-batch", "sha256": OTHER_KEY_SHA256}], "models": names},
        ],
    })
}
