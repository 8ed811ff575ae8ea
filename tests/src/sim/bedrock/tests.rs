//! The simulator against a real botocore client, botocore's parsers and hand-broken requests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::{Config, ENCODING, Judge, start};
use crate::sim::{At, Behaviour, Chunking, Fault, Outcome, Record, Server};

const MODEL: &str = "us.amazon.nova-lite-v1:0";

struct Bench {
    server: Server,
    judge: Judge,
}

async fn bench(config: Config) -> Bench {
    Bench { server: start(config).await.unwrap(), judge: Judge::start().await.unwrap() }
}

fn say(text: &str) -> Value {
    json!({"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": text}]}]})
}

impl Bench {
    /// A real botocore client's call.
    async fn call(&self, operation: &str, params: Value) -> Value {
        let config = Config::default();
        let question = json!({"op": "call", "operation": operation, "endpoint": self.server.url(), "params": params,
            "access_key": config.access_key, "secret_key": config.secret_key});
        self.judge.ask(question).await.unwrap()
    }

    /// A request signed by botocore and then changed by `change`.
    async fn signed(
        &self,
        path: &str,
        body: &Value,
        change: impl FnOnce(&mut Vec<(String, String)>, &mut String),
    ) -> Response {
        let config = Config::default();
        let mut text = body.to_string();
        let url = format!("{}{path}", self.server.url());
        let question = json!({"op": "sign", "method": "POST", "url": url, "body_b64": BASE64.encode(&text),
            "headers": [["content-type", "application/json"]],
            "access_key": config.access_key, "secret_key": config.secret_key});
        let made = self.judge.ask(question).await.unwrap();
        let mut headers: Vec<(String, String)> = serde_json::from_value(made["headers"].clone()).unwrap();
        change(&mut headers, &mut text);
        let mut request = Client::builder().no_proxy().build().unwrap().post(url).body(text);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    async fn settled(&self) -> Record {
        for _ in 0..400 {
            if let Some(record) = self.server.book().last().filter(|r| r.outcome.is_some()) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the exchange never ended");
    }
}

fn class(response: &Response) -> String {
    let header = response.headers()["x-amzn-errortype"].to_str().unwrap();
    header.split(':').next().unwrap().to_owned()
}

fn body_of(params: &Value) -> Value {
    let mut body = params.clone();
    body.as_object_mut().unwrap().remove("modelId");
    body
}

const PATH: &str = "/model/us.amazon.nova-lite-v1%3A0/converse";

#[tokio::test]
async fn a_botocore_client_converses() {
    let bench = bench(Config::default()).await;
    let mut params = say("How high is the river?");
    params["system"] = json!([{"text": "Be brief."}]);
    let told = bench.call("Converse", params).await;
    let answer = &told["answer"];
    let text = answer["output"]["message"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told}"));
    let prompt = 3 + 4 + ENCODING.count("Be brief.") + 4 + ENCODING.count("How high is the river?");
    assert_eq!(answer["usage"]["inputTokens"], prompt);
    assert_eq!(answer["usage"]["outputTokens"], ENCODING.count(text));
    assert_eq!(answer["stopReason"], "end_turn");
    assert_eq!(told["request_id"].as_str().unwrap().len(), 36);
    let record = bench.settled().await;
    assert_eq!((record.path.as_str(), record.canonical_path), (PATH, Some(true)));
    assert_eq!(record.model.as_deref(), Some(MODEL));
    assert_eq!(record.billed_prompt_tokens, prompt);
    assert!(record.problems.is_empty());
}

#[tokio::test]
async fn a_botocore_client_streams_what_the_whole_answer_says() {
    let bench = bench(Config::default()).await;
    let whole = bench.call("Converse", say("Same words")).await;
    bench.server.next(Behaviour { chunking: Some(Chunking::Fixed(1)), ..Behaviour::default() });
    let told = bench.call("ConverseStream", say("Same words")).await;
    let events = told["events"].as_array().unwrap();
    let said: String =
        events.iter().filter_map(|e| e["contentBlockDelta"]["delta"]["text"].as_str()).collect();
    assert_eq!(said, whole["answer"]["output"]["message"]["content"][0]["text"].as_str().unwrap());
    let kinds: Vec<&str> =
        events.iter().map(|e| e.as_object().unwrap().keys().next().unwrap().as_str()).collect();
    assert_eq!(kinds[0], "messageStart");
    assert!(!kinds.contains(&"contentBlockStart"));
    assert_eq!(kinds[kinds.len() - 3..], ["contentBlockStop", "messageStop", "metadata"]);
    assert_eq!(
        events.last().unwrap()["metadata"]["usage"]["totalTokens"],
        whole["answer"]["usage"]["totalTokens"]
    );
}

#[tokio::test]
async fn a_stream_reads_the_same_at_every_step() {
    let bench = bench(Config::default()).await;
    bench.call("ConverseStream", say("Split me")).await;
    let stream = BASE64.encode(bench.settled().await.answer());
    let read = async |step: usize| {
        let question = json!({"op": "read_stream", "stream_b64": stream, "step": step});
        bench.judge.ask(question).await.unwrap()
    };
    let whole = read(0).await;
    assert!(whole["events"].as_array().unwrap().len() > 20);
    for step in [1, 7, 100] {
        assert_eq!(read(step).await, whole);
    }
}

fn with_tools(text: &str) -> Value {
    let mut params = say(text);
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    params["toolConfig"] = json!({"tools": [{"toolSpec": {"name": "get_weather", "description": "Weather.", "inputSchema": {"json": schema}}}]});
    params
}

#[tokio::test]
async fn tools_are_called_in_parallel_streamed_or_not() {
    let hidden = Config { hidden_tool_tokens: 300, ..Config::default() };
    let bench = bench(hidden).await;
    let told = bench.call("Converse", with_tools("The weather in Paris and Oslo?")).await;
    let answer = &told["answer"];
    assert_eq!(answer["stopReason"], "tool_use");
    assert!(answer["usage"]["inputTokens"].as_u64().unwrap() > 300);
    let content = answer["output"]["message"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 3);
    let streamed = bench.call("ConverseStream", with_tools("The weather in Paris and Oslo?")).await;
    let events = streamed["events"].as_array().unwrap();
    for (at, block) in content.iter().enumerate().skip(1) {
        let here = |e: &&Value| e["contentBlockDelta"]["contentBlockIndex"] == at;
        let pieces: Vec<&str> = events
            .iter()
            .filter(here)
            .map(|e| e["contentBlockDelta"]["delta"]["toolUse"]["input"].as_str().unwrap())
            .collect();
        assert!(pieces.len() > 1);
        assert_eq!(serde_json::from_str::<Value>(&pieces.concat()).unwrap(), block["toolUse"]["input"]);
        assert!(events.iter().any(|e| e["contentBlockStart"]["contentBlockIndex"] == at));
    }
    let ids: Vec<&str> = content[1..].iter().map(|b| b["toolUse"]["toolUseId"].as_str().unwrap()).collect();
    let result = |id: &str| json!({"toolResult": {"toolUseId": id, "content": [{"json": {"c": 12}}]}});
    let mut next = with_tools("The weather in Paris and Oslo?");
    let turns = next["messages"].as_array_mut().unwrap();
    turns.push(json!({"role": "assistant", "content": content}));
    turns.push(json!({"role": "user", "content": [result(ids[0]), result(ids[1])]}));
    let told = bench.call("Converse", next.clone()).await;
    assert_eq!(told["answer"]["stopReason"], "end_turn", "{told}");
    next["messages"][2]["content"].as_array_mut().unwrap().pop();
    let told = bench.call("Converse", next.clone()).await;
    assert!(told["client_error"]["Message"].as_str().unwrap().contains(ids[1]), "{told}");
    next.as_object_mut().unwrap().remove("toolConfig");
    next["messages"][2]["content"] = json!([result(ids[0]), result(ids[1])]);
    let told = bench.call("Converse", next).await;
    assert!(told["client_error"]["Message"].as_str().unwrap().contains("toolConfig"), "{told}");
}

#[tokio::test]
async fn a_broken_signature_is_403_and_says_why() {
    let bench = bench(Config::default()).await;
    let body = body_of(&say("x"));
    assert_eq!(bench.signed(PATH, &body, |_, _| {}).await.status(), 200);
    type Change = fn(&mut Vec<(String, String)>, &mut String);
    let changes: [(&str, Change); 4] = [
        ("InvalidSignatureException", |_, body| *body = body.replace("\"x\"", "\"y\"")),
        ("InvalidSignatureException", |headers, _| {
            headers.iter_mut().find(|(n, _)| n == "X-Amz-Date").unwrap().1 = "20200101T000000Z".into();
        }),
        ("InvalidSignatureException", |headers, _| headers.push(("x-amz-new".into(), "unsigned".into()))),
        ("MissingAuthenticationTokenException", |headers, _| headers.retain(|(n, _)| n != "Authorization")),
    ];
    for (wanted, change) in changes {
        let response = bench.signed(PATH, &body, change).await;
        assert_eq!((response.status().as_u16(), class(&response).as_str()), (403, wanted));
        assert!(response.headers().contains_key("x-amzn-requestid"));
    }
    let other = |headers: &mut Vec<(String, String)>, _: &mut String| {
        let given = headers.iter_mut().find(|(n, _)| n == "Authorization").unwrap();
        given.1 = given.1.replace("AKIDEXAMPLE", "AKIDOTHER");
    };
    assert_eq!(class(&bench.signed(PATH, &body, other).await), "UnrecognizedClientException");
}

#[tokio::test]
async fn a_raw_colon_passes_but_is_recorded() {
    let bench = bench(Config::default()).await;
    let response =
        bench.signed("/model/us.amazon.nova-lite-v1:0/converse", &body_of(&say("x")), |_, _| {}).await;
    assert_eq!(response.status(), 200);
    assert_eq!(bench.settled().await.canonical_path, Some(false));
}

#[tokio::test]
async fn an_arn_is_one_path_segment() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0";
    let bench = bench(Config { models: vec![arn.into()], ..Config::default() }).await;
    let mut params = say("x");
    params["modelId"] = arn.into();
    let told = bench.call("Converse", params).await;
    assert!(told["answer"].is_object(), "{told}");
    let record = bench.settled().await;
    assert_eq!((record.model.as_deref(), record.canonical_path), (Some(arn), Some(true)));
    assert!(record.path.contains("inference-profile%2Fus"));
    let told = bench.call("Converse", say("x")).await;
    assert_eq!(told["client_error"]["Code"], "ValidationException");
}

#[tokio::test]
async fn what_the_service_model_does_not_allow_is_a_validation_error() {
    let bench = bench(Config::default()).await;
    let case = |change: fn(&mut Value)| {
        let mut body = body_of(&with_tools("x"));
        change(&mut body);
        body
    };
    let cases: Vec<(Value, &str)> = vec![
        (case(|b| b["inferenceConfig"] = json!({"temperature": 1.5})), "temperature"),
        (case(|b| b["inferenceConfig"] = json!({"maxTokens": 0})), "maxTokens"),
        (case(|b| b["inferenceConfig"] = json!({"maxTokens": "10"})), "maxTokens"),
        (case(|b| b["max_tokens"] = 5.into()), "max_tokens"),
        (case(|b| b["modelId"] = MODEL.into()), "modelId"),
        (case(|b| b["messages"][0]["role"] = "tool".into()), "role"),
        (case(|b| b["messages"][0]["content"] = "x".into()), "content"),
        (case(|b| b["messages"][0]["content"][0]["text"] = "  ".into()), "blank"),
        (case(|b| b["messages"][0]["content"] = json!([])), "empty"),
        (
            case(|b| {
                b["messages"][0]["content"][0] = json!({"text": "a", "cachePoint": {"type": "default"}})
            }),
            "content",
        ),
        (
            case(|b| {
                b["messages"][0]["content"][0] =
                    json!({"image": {"format": "png", "source": {"bytes": "a b"}}})
            }),
            "base64",
        ),
        (
            case(|b| {
                b["messages"][0]["content"][0] =
                    json!({"image": {"format": "bmp", "source": {"bytes": "aaaa"}}})
            }),
            "bmp",
        ),
        (case(|b| b["toolConfig"]["tools"][0]["toolSpec"]["name"] = "no spaces".into()), "name"),
        (case(|b| b["toolConfig"]["toolChoice"] = json!({"none": {}})), "toolChoice"),
        (case(|b| b["toolConfig"]["tools"][0]["toolSpec"]["description"] = "".into()), "description"),
        (case(|b| b["system"] = json!([{"text": ""}])), "system"),
        (case(|b| b["system"] = Value::Null), "system"),
        (case(|b| b["messages"][0]["role"] = "assistant".into()), "start with a user"),
        (
            case(|b| {
                let m = b["messages"][0].clone();
                b["messages"].as_array_mut().unwrap().push(m);
            }),
            "alternate",
        ),
    ];
    for (body, word) in cases {
        let response = bench.signed(PATH, &body, |_, _| {}).await;
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(class(&response), "ValidationException", "{body}");
        let message = response.json::<Value>().await.unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(bench.signed(PATH, &json!("no object"), |_, _| {}).await.status(), 400);
    assert_eq!(bench.signed("/model/x/count-tokens", &json!({}), |_, _| {}).await.status(), 404);
    assert_eq!(bench.server.book().totals().billed_prompt_tokens, 0);
}

#[tokio::test]
async fn an_image_passes_as_base64() {
    let bench = bench(Config::default()).await;
    let mut params = say("What is this?");
    let image =
        json!({"image": {"format": "png", "source": {"bytes": {"bytes_b64": BASE64.encode(b"\x89PNG")}}}});
    params["messages"][0]["content"].as_array_mut().unwrap().push(image);
    let told = bench.call("Converse", params).await;
    assert!(told["answer"]["usage"]["inputTokens"].as_u64().unwrap() > 1000, "{told}");
}

#[tokio::test]
async fn errors_keep_their_class() {
    let bench = bench(Config::default()).await;
    for (code, class) in [
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
        (424, "ModelErrorException"),
        (408, "ModelTimeoutException"),
    ] {
        bench.server.next(Behaviour::status(code));
        let told = bench.call("Converse", say("x")).await;
        assert_eq!(
            (told["client_error"]["Code"].as_str(), told["status"].as_u64()),
            (Some(class), Some(code.into())),
            "{told}"
        );
        assert!(told["request_id"].is_string());
    }
    let quota = Fault::Status {
        code: 400,
        retry_after: None,
        error_type: Some("ServiceQuotaExceededException".into()),
        message: None,
    };
    bench.server.next(Behaviour::fault(quota));
    let told = bench.call("Converse", say("x")).await;
    assert_eq!(told["client_error"]["Code"], "ServiceQuotaExceededException");
}

#[tokio::test]
async fn an_exception_inside_a_stream_reaches_the_client_as_one() {
    let bench = bench(Config::default()).await;
    let fault = Fault::ErrorMidStream {
        at: At::Events(3),
        error_type: Some("throttlingException".into()),
        message: Some("slow down".into()),
    };
    bench.server.next(Behaviour::fault(fault));
    let told = bench.call("ConverseStream", say("x")).await;
    assert_eq!(told["events"].as_array().unwrap().len(), 3);
    assert_eq!(told["stream_error"]["Error"]["Code"], "throttlingException", "{told}");
    let record = bench.settled().await;
    assert_eq!(record.outcome, Some(Outcome::Faulted));
    assert_eq!(record.billed_completion_tokens, record.completion_tokens, "Bedrock bills all of it");
    bench.server.next(Behaviour::fault(Fault::ErrorFirstFrame { error_type: None, message: None }));
    let told = bench.call("ConverseStream", say("x")).await;
    assert_eq!(told["stream_error"]["Error"]["Code"], "internalServerException", "{told}");
    bench.server.next(Behaviour::fault(Fault::CutMidStream { at: At::Bytes(500) }));
    bench.call("ConverseStream", say("x")).await;
    assert_eq!(bench.settled().await.answer_bytes, 500);
}

#[tokio::test]
async fn a_cache_point_is_written_once_and_read_after() {
    let bench = bench(Config::default()).await;
    let mut params = say("A question");
    params["system"] = json!([{"text": "A long text. ".repeat(50)}, {"cachePoint": {"type": "default"}}]);
    let first = bench.call("Converse", params.clone()).await["answer"]["usage"].take();
    let second = bench.call("Converse", params).await["answer"]["usage"].take();
    assert_eq!(first["cacheReadInputTokens"], 0);
    assert!(first["cacheWriteInputTokens"].as_u64().unwrap() > 100);
    assert_eq!(second["cacheReadInputTokens"], first["cacheWriteInputTokens"]);
    assert_eq!(second["inputTokens"], first["inputTokens"]);
    assert_eq!(
        second["totalTokens"],
        bench.settled().await.prompt_tokens + second["outputTokens"].as_u64().unwrap() as u32
    );
}

#[tokio::test]
async fn limits_echo_and_stops() {
    let bench = bench(Config::default()).await;
    let mut params = say("one two three four");
    bench.server.always(Behaviour::echo());
    params["inferenceConfig"] = json!({"maxTokens": 2});
    let told = bench.call("Converse", params.clone()).await;
    assert_eq!(
        (told["answer"]["stopReason"].as_str(), told["answer"]["usage"]["outputTokens"].as_u64()),
        (Some("max_tokens"), Some(2))
    );
    params["inferenceConfig"] = json!({"stopSequences": ["three"]});
    let told = bench.call("Converse", params).await;
    assert_eq!(
        (
            told["answer"]["stopReason"].as_str(),
            told["answer"]["output"]["message"]["content"][0]["text"].as_str()
        ),
        (Some("stop_sequence"), Some("one two "))
    );
}

#[tokio::test]
async fn a_configured_bearer_key_stands_for_a_signature() {
    let bench = bench(Config { api_keys: vec!["ABSKkey".into()], ..Config::default() }).await;
    for (key, status) in [("ABSKkey", 200), ("ABSKother", 403)] {
        let with = |headers: &mut Vec<(String, String)>, _: &mut String| {
            headers.retain(|(n, _)| n != "Authorization");
            headers.push(("Authorization".into(), format!("Bearer {key}")));
        };
        assert_eq!(bench.signed(PATH, &body_of(&say("x")), with).await.status(), status);
    }
}

#[tokio::test]
async fn recorded_requests_that_bedrock_took_are_taken() {
    let Some(data) = crate::harness::shared_data() else { return };
    let judge = Judge::start().await.unwrap();
    let (mut taken, mut refused) = (0, Vec::new());
    for (file, operation) in
        [("bedrock_converse.jsonl", "Converse"), ("bedrock_converse_stream.jsonl", "ConverseStream")]
    {
        for line in std::fs::read_to_string(data.join("wire").join(file)).unwrap().lines() {
            let call: Value = serde_json::from_str(line).unwrap();
            if call["status"] != 200 || !call["request"].is_object() {
                continue;
            }
            let uri = call["uri"].as_str().unwrap();
            let segment = uri.split("/model/").nth(1).and_then(|r| r.split('/').next()).unwrap();
            let question = json!({"op": "judge", "operation": operation, "check_parameters": true,
                "body_b64": BASE64.encode(call["request"].to_string()), "model_id": segment});
            let verdict = judge.ask(question).await.unwrap();
            let own = super::request::read(
                &Config { strict: false, ..Config::default() },
                call["request"].to_string().as_bytes(),
            );
            match (verdict["parameters"].as_array().unwrap().is_empty(), own) {
                (true, Ok(_)) => taken += 1,
                (_, own) => refused.push(format!("{uri}: {verdict} {:?}", own.err())),
            }
        }
    }
    // One call named a video's format by its media type, which the service model's enum does not have.
    let known = |r: &String| r.contains("video.format") && r.contains("'video/mp4' is none of");
    refused.retain(|r| !known(r));
    assert!(refused.is_empty(), "{taken} taken; refused: {refused:#?}");
    assert!(taken > 50);
}
