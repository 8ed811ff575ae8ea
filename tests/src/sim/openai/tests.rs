//! The simulator is judged by OpenAI's own SDK: its answers read strictly, its streams put together.

use serde_json::{Value, json};

use super::*;

struct Sim {
    server: Server,
    judge: Judge,
    http: reqwest::Client,
}

impl Sim {
    async fn start() -> Self {
        let server = start(Config::default()).await.expect("a free port, and Python with openai");
        let judge = Judge::of("openai_judge.py").await.expect("Python with openai");
        Self { server, judge, http: reqwest::Client::builder().no_proxy().build().expect("a client") }
    }

    async fn ask(&self, path: &str, body: &Value) -> (u16, Vec<u8>) {
        let post = self.http.post(format!("{}{path}", self.server.url())).json(body);
        let answer = post.bearer_auth(Config::default().api_key).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.bytes().await.expect("a body").to_vec())
    }

    async fn judged(&self, op: &str, api: &str, body: &[u8]) -> Value {
        let question = json!({"op": op, "api": api, "body_b64": BASE64.encode(body)});
        self.judge
            .ask(question)
            .await
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(body)))
    }

    /// Whole and streamed, as the SDK reads them.
    async fn both(&self, path: &str, api: &str, mut body: Value) -> (Value, Value) {
        let (status, whole) = self.ask(path, &body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&whole));
        let whole = self.judged("answer", api, &whole).await;
        body["stream"] = json!(true);
        if api == "chat" {
            body["stream_options"] = json!({"include_usage": true});
        }
        let (status, stream) = self.ask(path, &body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&stream));
        let stream = self.judged("stream", api, &stream).await;
        assert_eq!(stream["done"], true, "{stream}");
        (whole, stream["answer"].clone())
    }
}

fn with(mut body: Value, more: Value) -> Value {
    for (key, value) in more.as_object().expect("members") {
        body[key] = value.clone();
    }
    body
}

fn chat(more: Value) -> Value {
    let user = json!({"role": "user", "content": "Use the weather tool for Berlin."});
    with(json!({"model": "gpt-5-mini", "messages": [user]}), more)
}

fn responses(more: Value) -> Value {
    with(json!({"model": "gpt-5-mini", "input": "Use the weather tool for Berlin."}), more)
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

#[tokio::test]
async fn whole_and_streamed_chats_are_one_completion_to_the_sdk() {
    let sim = Sim::start().await;
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": schema()}}]);
    for more in [
        json!({}),
        json!({"max_completion_tokens": 5}),
        json!({"tools": tools}),
        json!({"n": 2}),
        json!({"reasoning_effort": "low"}),
    ] {
        let (whole, stream) = sim.both("/v1/chat/completions", "chat", chat(more)).await;
        assert_eq!(stream["usage"], whole["usage"]);
        for (a, b) in whole["choices"].as_array().unwrap().iter().zip(stream["choices"].as_array().unwrap()) {
            assert_eq!(
                (&a["message"]["content"], &a["finish_reason"]),
                (&b["message"]["content"], &b["finish_reason"])
            );
            let arguments = |choice: &Value| {
                let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
                calls.iter().map(|call| call["function"]["arguments"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(arguments(a), arguments(b));
        }
        let record = sim.server.book().last().expect("it was asked");
        assert_eq!(json!(record.billed_completion_tokens), whole["usage"]["completion_tokens"]);
        assert_eq!(json!(record.billed_prompt_tokens), whole["usage"]["prompt_tokens"]);
    }
}

#[tokio::test]
async fn whole_and_streamed_responses_are_one_response_to_the_sdk() {
    let sim = Sim::start().await;
    let tools = json!([{"type": "function", "name": "weather", "parameters": schema(), "strict": null}]);
    let reasoning = json!({"effort": "low", "summary": "auto"});
    for more in [
        json!({"instructions": "Be brief.", "metadata": {"k": "v"}}),
        json!({"max_output_tokens": 16}),
        json!({"tools": tools}),
        json!({"reasoning": reasoning, "include": ["reasoning.encrypted_content"], "store": false}),
    ] {
        let (whole, stream) = sim.both("/v1/responses", "responses", responses(more)).await;
        assert_eq!((&stream["usage"], &stream["status"]), (&whole["usage"], &whole["status"]));
        for (a, b) in whole["output"].as_array().unwrap().iter().zip(stream["output"].as_array().unwrap()) {
            for part in ["type", "content", "arguments", "summary"] {
                assert_eq!(a[part], b[part], "{part}");
            }
        }
        let record = sim.server.book().last().expect("it was asked");
        assert_eq!(json!(record.billed_completion_tokens), whole["usage"]["output_tokens"]);
        assert_eq!(json!(record.billed_prompt_tokens), whole["usage"]["input_tokens"]);
    }
    sim.server.next(Behaviour {
        reply: Some(super::super::ReplyKind::Fixed("refusal: No.".into())),
        ..Behaviour::default()
    });
    let (_, body) = sim.ask("/v1/responses", &responses(json!({}))).await;
    let body = sim.judged("answer", "responses", &body).await;
    assert_eq!(body["output"][0]["content"][0], json!({"type": "refusal", "refusal": "No."}));
}

#[tokio::test]
async fn reasoning_comes_back_as_it_was_given_and_results_belong_to_calls() {
    let sim = Sim::start().await;
    let tools = json!([{"type": "function", "name": "weather", "parameters": schema(), "strict": null}]);
    let more = json!({
        "tools": tools, "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "store": false,
    });
    let (_, body) = sim.ask("/v1/responses", &responses(more.clone())).await;
    let body = sim.judged("answer", "responses", &body).await;
    let output = body["output"].as_array().unwrap().clone();
    let calls: Vec<&Value> = output.iter().filter(|item| item["type"] == "function_call").collect();
    assert_eq!(calls.len(), 2);
    let result =
        |call: &&Value| json!({"type": "function_call_output", "call_id": call["call_id"], "output": "21"});
    let turns = |output: &[Value]| {
        let mut input = vec![json!({"role": "user", "content": "Use the weather tool for Berlin."})];
        input.extend(output.iter().cloned());
        input.extend(calls.iter().map(result));
        with(responses(more.clone()), json!({"input": input}))
    };
    assert_eq!(sim.ask("/v1/responses", &turns(&output)).await.0, 200);
    let mut changed = output.clone();
    changed[0]["summary"][0]["text"] = json!("something else");
    assert_eq!(sim.ask("/v1/responses", &turns(&changed)).await.0, 400);
    let mut missing = output.clone();
    missing.pop();
    assert_eq!(sim.ask("/v1/responses", &turns(&missing)).await.0, 400);
    // What is kept can be gone on from; what is not kept cannot.
    let next = |id: &Value| {
        let results: Vec<Value> = calls.iter().map(result).collect();
        with(responses(json!({"tools": tools})), json!({"previous_response_id": id, "input": results}))
    };
    assert_eq!(sim.ask("/v1/responses", &next(&body["id"])).await.0, 400);
    let (_, kept) = sim.ask("/v1/responses", &responses(json!({"tools": tools}))).await;
    let kept = sim.judged("answer", "responses", &kept).await;
    let results: Vec<Value> = kept["output"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["type"] == "function_call")
        .map(|c| result(&c))
        .collect();
    let go_on = json!({"previous_response_id": kept["id"], "input": results, "tools": tools});
    let (status, body) = sim.ask("/v1/responses", &responses(go_on)).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn texts_and_their_tokens_have_one_embedding() {
    let sim = Sim::start().await;
    let ids = EMBEDDING.encode("Straße nach Zürich");
    let mut seen = Vec::new();
    for input in [json!("Straße nach Zürich"), json!(["Straße nach Zürich"]), json!(ids), json!([ids])] {
        let body = json!({"model": "text-embedding-3-small", "input": input, "dimensions": 8});
        let (status, body) = sim.ask("/v1/embeddings", &body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let body = sim.judged("answer", "embeddings", &body).await;
        assert_eq!(body["usage"]["prompt_tokens"], json!(ids.len()));
        assert_eq!(body["data"][0]["embedding"].as_array().map(Vec::len), Some(8));
        seen.push(body["data"][0]["embedding"].clone());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(sim.server.book().totals().billed_prompt_tokens, 4 * ids.len() as u64);
}

#[tokio::test]
async fn what_the_api_refuses_is_refused_in_its_own_shape() {
    let sim = Sim::start().await;
    let result = json!([{"role": "tool", "tool_call_id": "x", "content": "r"}]);
    let output = json!([{"type": "function_call_output", "call_id": "x", "output": "r"}]);
    let all = [
        ("/v1/chat/completions", chat(json!({"model": "claude"})), 404),
        ("/v1/chat/completions", chat(json!({"temperature": "hot"})), 400),
        ("/v1/chat/completions", chat(json!({"thinking_blocks": []})), 400),
        ("/v1/chat/completions", chat(json!({"messages": result})), 400),
        ("/v1/chat/completions", chat(json!({"stream_options": {"include_usage": true}})), 400),
        ("/v1/responses", responses(json!({"max_output_tokens": 15})), 400),
        ("/v1/responses", responses(json!({"messages": []})), 400),
        ("/v1/responses", responses(json!({"input": output})), 400),
        ("/v1/responses", responses(json!({"previous_response_id": "resp_none"})), 400),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": []}), 400),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": "x", "stream": true}), 400),
        ("/v1/files", json!({}), 404),
    ];
    for (path, body, status) in all {
        let (got, answer) = sim.ask(path, &body).await;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(
            (got, &answer["error"]["type"]),
            (status, &json!("invalid_request_error")),
            "{body} {answer}"
        );
    }
    assert_eq!(sim.server.book().totals().billed_prompt_tokens, 0);
}

#[tokio::test]
async fn a_fault_in_a_stream_is_the_apis_error_event() {
    let sim = Sim::start().await;
    for (path, api, body) in [
        ("/v1/chat/completions", "chat", chat(json!({"stream": true}))),
        ("/v1/responses", "responses", responses(json!({"stream": true}))),
    ] {
        for fault in [
            Fault::ErrorMidStream {
                at: super::super::At::Events(5),
                error_type: None,
                message: Some("gone".into()),
            },
            Fault::ErrorFirstFrame { error_type: None, message: Some("gone".into()) },
        ] {
            let first = matches!(fault, Fault::ErrorFirstFrame { .. });
            sim.server.next(Behaviour::fault(fault));
            let (status, stream) = sim.ask(path, &body).await;
            let text = String::from_utf8_lossy(&stream);
            assert!(status == 200 && text.contains("gone") && !text.contains("[DONE]"), "{text}");
            assert_eq!(text.contains("response.created"), api == "responses" && !first);
        }
    }
}
