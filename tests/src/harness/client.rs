//! An ordinary HTTP client for the gateway, over HTTP/1.1 or HTTP/2.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;

/// Sends to one port of 127.0.0.1 with one API key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers as they came.
    pub headers: HeaderMap,
    /// Body as it came, decoded from nothing but HTTP's framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// HTTP/1.1.
    pub fn new(port: u16, key: &str) -> Self {
        Self::build(port, key, reqwest::Client::builder().http1_only())
    }

    /// HTTP/2 without TLS, from the first byte.
    pub fn h2(port: u16, key: &str) -> Self {
        Self::build(port, key, reqwest::Client::builder().http2_prior_knowledge())
    }

    fn build(port: u16, key: &str, builder: reqwest::ClientBuilder) -> Self {
        let http = builder.no_proxy().timeout(Duration::from_secs(60)).build().expect("a client without TLS");
        Self { http, base: format!("http://127.0.0.1:{port}"), key: Some(key.into()) }
    }

    /// The same client without a key.
    pub fn anonymous(mut self) -> Self {
        self.key = None;
        self
    }

    /// The same client with another key.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A request to fill in; its key is set already.
    pub fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// A POST of these bytes as JSON, to fill in.
    pub fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        self.request(http::Method::POST, path).header("content-type", "application/json").body(body)
    }

    /// Chat completion of these bytes.
    pub async fn chat(&self, body: impl Into<reqwest::Body>) -> Answer {
        Self::answer(self.post("/v1/chat/completions", body)).await
    }

    /// Sends and reads to the end; transport errors panic.
    pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
        Self::try_answer(request).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Sends and reads to the end.
    pub async fn try_answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }
}
