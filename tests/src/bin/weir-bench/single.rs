//! One client on one kept connection to an Envoy of one worker: what single requests are timed by.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::Value;
use weir_tests::harness::{Envoy, EnvoyConfig, free_port, paths};

use crate::load::connect;

pub struct Single {
    pub envoy: Envoy,
    pub port: u16,
    pub client: Client,
}

impl Single {
    /// Envoy with the example's configuration but for `change`, before the provider at `upstream`.
    pub async fn start(name: &str, upstream: u16, change: impl FnOnce(&mut Value)) -> Result<Self, String> {
        let mut config = EnvoyConfig::read("envoy/inject/envoy.yaml");
        let mut exchange = config.configuration("exchange");
        change(&mut exchange);
        let port = free_port();
        config
            .module(&paths::module("weir"))
            .configure("exchange", &exchange.to_string())
            .port(8080, port)
            .port(9101, upstream)
            .port(4317, free_port());
        let envoy = Envoy::builder(config).name(name).concurrency(1).try_start().await?;
        Ok(Self { envoy, port, client: Client::connect(port).await? })
    }
}

pub struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub async fn connect(port: u16) -> Result<Self, String> {
        connect(port).await.map(Self)
    }

    /// What was answered to a chat, and when it was read to its end.
    pub async fn post(&mut self, key: &str, body: String) -> Result<(Bytes, Duration), String> {
        let request = Request::post("/v1/chat/completions")
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let begun = Instant::now();
        let answer = self.0.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        let took = begun.elapsed();
        match status.is_success() {
            true => Ok((body, took)),
            false => Err(format!("status {status}: {}", String::from_utf8_lossy(&body))),
        }
    }
}
