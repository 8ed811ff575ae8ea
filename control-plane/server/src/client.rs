//! The command line's side of the REST API of a running control plane.

use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::api::token;

/// Where the control plane's API is.
#[derive(Clone, Debug, clap::Args)]
pub struct At {
    /// The control plane's API: HOST:PORT, or a URL. Changes need its token, from WEIR_API_TOKEN or the file named by
    /// WEIR_API_TOKEN_FILE, where it has one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub api: String,
}

/// A client of one control plane.
pub struct Client {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

impl At {
    /// A client.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.api, false)
    }
}

impl Client {
    /// A client; `h2` where only HTTP/2 is spoken, as on the port of gateways.
    pub fn new(address: &str, h2: bool) -> Result<Self, Failure> {
        let base = match address.split_once("://") {
            Some(("http", _)) => address.trim_end_matches('/').to_owned(),
            None => format!("http://{}", address.trim_end_matches('/')),
            Some(_) => {
                return Err(Failure::new(format!(
                    "{address}: the command line speaks plain HTTP; reach the API by `kubectl port-forward` or a tunnel"
                )));
            }
        };
        let mut http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        if h2 {
            http = http.http2_prior_knowledge();
        }
        let http = http.build().map_err(|why| Failure::new(why.to_string()))?;
        Ok(Self { base, http, token: token()? })
    }

    /// A document.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut url = format!("{}{path}", self.base);
        for (i, (name, value)) in query.iter().enumerate() {
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(&format!("{name}={}", escape(value)));
        }
        self.answer(self.http.get(url)).await
    }

    /// A change.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let mut request =
            self.http.post(format!("{}{path}", self.base)).json(body).header("x-weir-by", user());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        self.answer(request).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let answer = request.send().await.map_err(|why| {
            let hint = "is `weir serve` or `weir up` running there? --api names another address";
            Failure::new(format!("{} does not answer ({why}); {hint}", self.base))
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(|why| Failure::new(format!("{}: {why}", self.base)))?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        Err(Failure::new(match value["error"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("{}: status {status}: {}", self.base, text.trim()),
        }))
    }
}

/// One segment or value of a URL.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Who runs the command: for the audit, not for any decision.
fn user() -> String {
    let name = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = name.filter(|name| !name.is_empty()).or_else(|| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some(format!("uid {}", uid.split_whitespace().next()?))
    });
    let name = name.unwrap_or_else(|| "somebody".into());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let said = match host.trim() {
        "" => name,
        host => format!("{name}@{host}"),
    };
    said.chars().filter(char::is_ascii_graphic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_it_stays_one_segment() {
        assert_eq!(escape("a b/c?d=é&e"), "a%20b%2Fc%3Fd%3D%C3%A9%26e");
    }

    #[test]
    fn an_address_may_be_a_url() {
        for (address, base) in [("h:1", "http://h:1"), ("http://h:1/", "http://h:1")] {
            assert_eq!(Client::new(address, false).map(|c| c.base).ok().as_deref(), Some(base));
        }
        assert!(Client::new("https://h", false).is_err());
    }
}
