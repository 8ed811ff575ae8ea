//! The verifier of AWS signatures against botocore's own signer: what it signs is right, and nothing else is. The
//! requests are random, their seed fixed.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use weir_pipeline::io::{Headers, Now};
use weir_pipeline::sigv4::{Fault, Signed, access_key, hmac};
use weir_tests::sim::bedrock::Judge;
use weir_tests::sim::rng::Rng;

const KEY: &str = "AKWEIRABCDEFGHIJKLMN";
const REQUESTS: usize = 300;

/// A request as a gateway sees it.
#[derive(Clone)]
struct Seen {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    secret: String,
}

impl Seen {
    fn judge(&self, now: Now) -> Result<(), Fault> {
        let fields: Vec<(&[u8], &[u8])> =
            self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let headers = Headers(&fields);
        let authorization = headers.get("authorization").expect("botocore signs");
        assert_eq!(access_key(authorization), Some(KEY));
        let day = |day: &str| Some(hmac(format!("AWS4{}", self.secret).as_bytes(), &[day.as_bytes()]));
        Signed::read(authorization, &headers, now, day)?.verify(&self.body)
    }

    fn set(&self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let mut seen = self.clone();
        let field = seen.fields.iter_mut().find(|(n, _)| n == name).expect("it is there");
        field.1 = change(&field.1);
        seen
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn word(rng: &mut Rng, letters: &str, most: usize) -> String {
    let letters: Vec<char> = letters.chars().collect();
    (0..rng.between(1, most)).map(|_| letters[rng.between(0, letters.len() - 1)]).collect()
}

/// What a client may send, before it is signed.
fn request(rng: &mut Rng) -> (Value, Vec<u8>, String) {
    let id = match rng.between(0, 4) {
        0 => "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0".to_owned(),
        1 => "us.amazon.nova-lite-v1:0".to_owned(),
        2 => "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx".to_owned(),
        3 => "a%20b%25~%C3%A9".to_owned(),
        _ => word(rng, "abcXYZ019-._~", 40),
    };
    let operation =
        ["converse", "converse-stream", "invoke", "invoke-with-response-stream"][rng.between(0, 3)];
    let mut target = format!("/model/{id}/{operation}");
    for at in 0..rng.between(0, 3) {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(&word(rng, "abz%20", 6).replace('%', "%41"));
        if rng.between(0, 2) > 0 {
            target.push_str(&format!("={}", word(rng, "xyz09-._~", 8)));
        }
    }
    let body: Vec<u8> = match rng.between(0, 3) {
        0 => Vec::new(),
        1 => json!({"messages": [{"role": "user", "content": [{"text": word(rng, "aé世🙂 \"\\", 200)}]}]})
            .to_string()
            .into_bytes(),
        _ => (0..rng.between(1, 3000)).map(|_| rng.between(0, 255) as u8).collect(),
    };
    let mut headers = vec![json!(["Content-Type", "application/json"])];
    if rng.between(0, 1) == 0 {
        headers.push(json!(["amz-sdk-invocation-id", word(rng, "0123456789abcdef-", 36)]));
    }
    for at in 0..rng.between(0, 3) {
        let value = format!("{}  {}", word(rng, "abc:=;,", 12), word(rng, "x y", 9)).trim().to_owned();
        headers.push(json!([format!("X-Amz-Thing-{at}"), value]));
    }
    let host = ["llm.example", "127.0.0.1:8080", "gateway.internal:80"][rng.between(0, 2)];
    let token = (rng.between(0, 3) == 0).then(|| word(rng, "abcABC0123+/=", 60));
    let secret = word(rng, "abcdefABCDEF0123456789+/", 40);
    let region = ["us-east-1", "eu-central-1", "us-gov-west-1"][rng.between(0, 2)];
    let question = json!({
        "op": "sign", "method": if rng.between(0, 5) == 0 { "GET" } else { "POST" },
        "url": format!("http://{host}{target}"), "headers": headers, "body_b64": BASE64.encode(&body),
        "access_key": KEY, "secret_key": secret, "session_token": token,
        "region": region,
    });
    (question, body, secret)
}

async fn signed(judge: &Judge, rng: &mut Rng) -> Seen {
    let (question, body, secret) = request(rng);
    let told = judge.ask(question.clone()).await.expect("botocore signs");
    let url = question["url"].as_str().expect("a text");
    let (host, target) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a path");
    let mut fields = vec![
        (":method".to_owned(), question["method"].as_str().expect("a text").to_owned()),
        (":path".to_owned(), format!("/{target}")),
        // botocore leaves out the port that the scheme has anyway, and so does its host header.
        (":authority".to_owned(), host.strip_suffix(":80").unwrap_or(host).to_owned()),
    ];
    for header in told["headers"].as_array().expect("a list") {
        let text = |at: usize| header[at].as_str().expect("a text").to_owned();
        fields.push((text(0).to_lowercase(), text(1)));
    }
    // Of no interest to anybody, and after the signature.
    fields.push(("x-forwarded-for".into(), "10.0.0.1".into()));
    Seen { fields, body, secret }
}

#[tokio::test]
async fn what_botocore_signs_is_right_and_nothing_else_is() {
    let judge = Judge::start().await.expect("Python with botocore");
    let mut rng = Rng::new(20_261_121);
    for number in 0..REQUESTS {
        let seen = signed(&judge, &mut rng).await;
        let at = Now(now() * 1_000_000_000);
        assert_eq!(seen.judge(at), Ok(()), "{number}: {:?}", seen.fields);

        let mut other = seen.clone();
        other.body.push(b' ');
        assert_eq!(other.judge(at), Err(Fault::Wrong), "{number}: another body");
        let mut other = seen.clone();
        other.secret.push('x');
        assert_eq!(other.judge(at), Err(Fault::Wrong), "{number}: another secret");
        for (name, change) in [
            (":method", "PUT"),
            (":path", "/model/other/converse"),
            (":authority", "other.example"),
            ("content-type", "text/plain"),
        ] {
            let other = seen.set(name, |_| change.to_owned());
            assert_eq!(other.judge(at), Err(Fault::Wrong), "{number}: another {name}");
        }
        let other = seen.set("authorization", |text| {
            let last = text.chars().last().expect("a digit");
            format!("{}{}", &text[..text.len() - 1], if last == '0' { '1' } else { '0' })
        });
        assert_eq!(other.judge(at), Err(Fault::Wrong), "{number}: another signature");
        let mut other = seen.clone();
        other.fields.push(("x-amz-more".into(), "y".into()));
        assert!(
            matches!(other.judge(at), Err(Fault::Form(_))),
            "{number}: a header of AWS's that is not signed"
        );
        let mut other = seen.clone();
        other.fields.push(("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into()));
        assert!(other.judge(at).is_err(), "{number}: a payload that would not be signed");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_five_minutes() {
    let judge = Judge::start().await.expect("Python with botocore");
    let seen = signed(&judge, &mut Rng::new(7)).await;
    for (off, right) in [(0, true), (295, true), (-295, true), (330, false), (-330, false), (86_400, false)] {
        let at = Now(now().saturating_add_signed(off) * 1_000_000_000);
        assert_eq!(seen.judge(at), if right { Ok(()) } else { Err(Fault::Skewed) }, "{off}");
    }
}

#[tokio::test]
async fn a_header_that_is_no_signature_is_told_so() {
    let judge = Judge::start().await.expect("Python with botocore");
    let seen = signed(&judge, &mut Rng::new(8)).await;
    let at = Now(now() * 1_000_000_000);
    for change in [
        (|text: &str| text.replace("/bedrock/", "/s3/")) as fn(&str) -> String,
        |text| text.replace("aws4_request", "aws4"),
        |text| text.replace("host;", ""),
        |text| text.replace(";x-amz-date", ""),
        |text| text.split(", Signature").next().unwrap_or_default().to_owned(),
        |text| text.replace("Signature=", "Signature=zz"),
        |text| text.replace("Credential=AKWEIRABCDEFGHIJKLMN/2", "Credential=AKWEIRABCDEFGHIJKLMN/1"),
    ] {
        let other = seen.set("authorization", change);
        assert!(matches!(other.judge(at), Err(Fault::Form(_))), "{:?}", other.judge(at));
    }
}
