//! The official clients with nothing changed but the base URL, and curl.

use weir_tests::harness::inject::{ALIAS, KEY, MODEL};
use weir_tests::harness::{Inject, paths};

use tokio::process::Command;

#[tokio::test]
async fn the_openai_python_client_works_unchanged() {
    let gate = Inject::start("openai-python").await;
    let script = paths::repo_root().join("tests/sdk/openai_chat.py");
    let mut python = Command::new(paths::python());
    python.arg(script).args([
        format!("http://127.0.0.1:{}/v1", gate.port),
        KEY.into(),
        MODEL.into(),
        ALIAS.into(),
    ]);
    let output = python.output().await.expect("python starts");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    for step in ["chat", "stream", "tools", "image", "errors", "models"] {
        assert!(text.contains(&format!("ok {step}")), "{step} is missing: {text}");
    }
}

#[tokio::test]
async fn curl_works() {
    let gate = Inject::start("curl").await;
    let url = format!("http://127.0.0.1:{}/v1/chat/completions", gate.port);
    let auth = format!("authorization: Bearer {KEY}");
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        for stream in [false, true] {
            let mut body = crate::chat(MODEL, "hello from curl");
            body["stream"] = stream.into();
            let mut curl = Command::new("curl");
            curl.args([
                "--silent",
                "--show-error",
                "--fail-with-body",
                "--no-buffer",
                protocol,
                &url,
                "-H",
                &auth,
            ]);
            curl.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
            let output = curl.output().await.expect("curl starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.stdout, crate::settled(&gate).await.answer());
        }
    }
}
