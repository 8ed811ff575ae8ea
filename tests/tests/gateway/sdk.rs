//! OpenAI's own Python client with nothing changed but the base URL, against both providers.

use tokio::process::Command;
use weir_tests::harness::paths;

use crate::policy::{BEDROCK_FIRST, KEY, VLLM_FIRST};
use crate::setup::Gateway;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_python_client_gets_the_same_from_both_providers() {
    let gateway = Gateway::start("openai-python").await;
    let mut python = Command::new(paths::python());
    python.arg(paths::repo_root().join("tests/sdk/openai_gateway.py"));
    python.args([&format!("http://127.0.0.1:{}/v1", gateway.ports.gateway), KEY, VLLM_FIRST, BEDROCK_FIRST]);
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    for model in [VLLM_FIRST, BEDROCK_FIRST] {
        for step in ["chat", "stream", "tools", "image", "shape", "at_once"] {
            assert!(text.contains(&format!("ok {model} {step}\n")), "{model} {step} is missing: {text}");
        }
    }
    assert!(text.contains("ok errors"), "{text}");
    // Nothing went to the other one by failover.
    let (vllm, bedrock) = (gateway.vllm().book().totals(), gateway.bedrock.book().totals());
    assert_eq!((vllm.errors + vllm.vanished, bedrock.errors + bedrock.vanished), (0, 0));
    assert_eq!(vllm.requests, bedrock.requests);
}
