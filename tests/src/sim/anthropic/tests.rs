//! The simulator is judged by Anthropic's own SDK: its answers read strictly, its streams put together.

use serde_json::{Value, json};

use super::*;

struct Sim {
    server: Server,
    judge: Judge,
    http: reqwest::Client,
}

impl Sim {
    async fn start() -> Self {
        let server = start(Config::default()).await.expect("a free port, and Python with anthropic");
        let judge = Judge::of("anthropic_judge.py").await.expect("Python with anthropic");
        Self { server, judge, http: reqwest::Client::builder().no_proxy().build().expect("a client") }
    }

    async fn ask(&self, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let post = self.http.post(format!("{}{path}", self.server.url())).json(body);
        let post =
            post.header("x-api-key", Config::default().api_key).header("anthropic-version", "2023-06-01");
        let answer = post.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.bytes().await.expect("a body").to_vec())
    }

    async fn judged(&self, op: &str, body: &[u8]) -> Value {
        let question = json!({"op": op, "body_b64": BASE64.encode(body)});
        self.judge
            .ask(question)
            .await
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(body)))
    }
}

fn asking(more: Value) -> Value {
    let mut body = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 2000,
        "messages": [{"role": "user", "content": "Use the weather tool for Berlin."}],
    });
    for (key, value) in more.as_object().expect("members") {
        body[key] = value.clone();
    }
    body
}

fn tool() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!([{"name": "weather", "description": "Weather.", "input_schema": schema}])
}

#[tokio::test]
async fn whole_and_streamed_answers_are_one_message_to_the_sdk() {
    let sim = Sim::start().await;
    let thinking = json!({"type": "enabled", "budget_tokens": 1024});
    for more in [
        json!({}),
        json!({"max_tokens": 5}),
        json!({"tools": tool()}),
        json!({"thinking": thinking}),
        json!({"thinking": thinking, "tools": tool()}),
    ] {
        let (status, whole) = sim.ask("/v1/messages", &asking(more.clone())).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&whole));
        let whole = sim.judged("message", &whole).await;
        let mut streamed = asking(more);
        streamed["stream"] = json!(true);
        let (status, stream) = sim.ask("/v1/messages", &streamed).await;
        assert_eq!(status, 200);
        let stream = sim.judged("stream", &stream).await;
        assert_eq!(stream["done"], true, "{stream}");
        for part in ["content", "stop_reason", "stop_sequence"] {
            assert_eq!(stream["message"][part], whole[part], "{part}");
        }
        for part in ["input_tokens", "output_tokens"] {
            assert_eq!(stream["message"]["usage"][part], whole["usage"][part], "{part}");
        }
        let record = sim.server.book().last().expect("it was asked");
        assert_eq!(json!(record.billed_completion_tokens), whole["usage"]["output_tokens"]);
        assert_eq!(json!(record.billed_prompt_tokens), whole["usage"]["input_tokens"]);
    }
}

#[tokio::test]
async fn a_thought_comes_back_with_its_own_signature_or_not_at_all() {
    let sim = Sim::start().await;
    let more = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": tool()});
    let (_, answer) = sim.ask("/v1/messages", &asking(more.clone())).await;
    let answer = sim.judged("message", &answer).await;
    let result = |call: &Value| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "21"});
    let blocks = answer["content"].as_array().expect("blocks");
    let results: Vec<Value> = blocks.iter().filter(|b| b["type"] == "tool_use").map(result).collect();
    assert_eq!(results.len(), 2);
    let turns = |content: Value| {
        let mut body = asking(more.clone());
        let first = body["messages"][0].clone();
        body["messages"] =
            json!([first, {"role": "assistant", "content": content}, {"role": "user", "content": results}]);
        body
    };
    assert_eq!(sim.ask("/v1/messages", &turns(answer["content"].clone())).await.0, 200);
    let mut changed = answer["content"].clone();
    changed[0]["thinking"] = json!("something else");
    let (status, body) = sim.ask("/v1/messages", &turns(changed)).await;
    assert!(status == 400 && String::from_utf8_lossy(&body).contains("signature"));
    let without: Vec<Value> = blocks[1..].to_vec();
    assert_eq!(sim.ask("/v1/messages", &turns(json!(without))).await.0, 400);
}

#[tokio::test]
async fn a_cached_prefix_is_written_once_and_then_read() {
    let sim = Sim::start().await;
    let text = json!([{"type": "text", "text": "A long instruction. ".repeat(50), "cache_control": {"type": "ephemeral"}}]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_, answer) = sim.ask("/v1/messages", &asking(json!({"system": text}))).await;
        let usage = sim.judged("message", &answer).await["usage"].clone();
        seen.push([usage["cache_creation_input_tokens"].clone(), usage["cache_read_input_tokens"].clone()]);
        let record = sim.server.book().last().expect("it was asked");
        let sum = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
            .map(|part| usage[part].as_u64().expect("a number"));
        assert_eq!(u64::from(record.billed_prompt_tokens), sum.iter().sum::<u64>());
    }
    assert!(seen[0][0].as_u64() > Some(100) && seen[0][1] == 0, "{seen:?}");
    assert_eq!(seen[1], [json!(0), seen[0][0].clone()]);
}

#[tokio::test]
async fn what_the_api_refuses_is_refused_in_its_own_shape() {
    let sim = Sim::start().await;
    let result =
        json!([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "r"}]}]);
    for (more, status, kind) in [
        (json!({"model": "gpt-4o"}), 404, "not_found_error"),
        (json!({"max_tokens": "many"}), 400, "invalid_request_error"),
        (json!({"max_tokens": 0}), 400, "invalid_request_error"),
        (json!({"temperature": 1.5}), 400, "invalid_request_error"),
        (json!({"frequency_penalty": 1}), 400, "invalid_request_error"),
        (json!({"messages": [{"role": "assistant", "content": "hi"}]}), 400, "invalid_request_error"),
        (json!({"messages": [{"role": "user", "content": " "}]}), 400, "invalid_request_error"),
        (json!({"messages": result}), 400, "invalid_request_error"),
        (
            json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}),
            400,
            "invalid_request_error",
        ),
    ] {
        let (got, body) = sim.ask("/v1/messages", &asking(more.clone())).await;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((got, &body["error"]["type"]), (status, &json!(kind)), "{more} {body}");
        assert!(body["type"] == "error" && body["request_id"].is_string());
    }
    assert_eq!(sim.server.book().totals().billed_prompt_tokens, 0);
}

#[tokio::test]
async fn tokens_are_counted_free_of_charge_and_as_they_are_billed() {
    let sim = Sim::start().await;
    let mut body = asking(json!({"tools": tool()}));
    let (_, answer) = sim.ask("/v1/messages", &body).await;
    let billed = sim.judged("message", &answer).await["usage"]["input_tokens"].clone();
    let before = sim.server.book().totals().billed_prompt_tokens;
    body.as_object_mut().expect("an object").remove("max_tokens");
    let (status, answer) = sim.ask("/v1/messages/count_tokens", &body).await;
    assert_eq!((status, sim.judged("count", &answer).await["input_tokens"].clone()), (200, billed));
    assert_eq!(sim.server.book().totals().billed_prompt_tokens, before);
}

#[tokio::test]
async fn a_fault_in_a_stream_is_the_apis_error_event() {
    let sim = Sim::start().await;
    sim.server.next(Behaviour::fault(Fault::ErrorMidStream {
        at: super::super::At::Events(5),
        error_type: Some("overloaded_error".into()),
        message: None,
    }));
    let (status, stream) = sim.ask("/v1/messages", &asking(json!({"stream": true}))).await;
    let stream = sim.judged("stream", &stream).await;
    assert_eq!((status, &stream["error"]["error"]["type"]), (200, &json!("overloaded_error")));
    assert_eq!(stream["done"], false);
}
