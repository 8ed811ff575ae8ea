//! Who may change something. With a token: whoever has it. Without: callers on this machine, as long as they do not
//! come by way of a browser that somebody else's page has led here.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;
use crate::Failure;

/// What callers must show.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The token, if there is one.
    pub token: Option<String>,
}

/// Who calls, as far as they say.
#[derive(Clone, Debug)]
pub struct Caller(pub String);

/// The token of `WEIR_API_TOKEN`, or of the file that `WEIR_API_TOKEN_FILE` names.
pub fn token() -> Result<Option<String>, Failure> {
    let token = match (std::env::var("WEIR_API_TOKEN"), std::env::var("WEIR_API_TOKEN_FILE")) {
        (Ok(token), _) if !token.is_empty() => token,
        (_, Ok(path)) if !path.is_empty() => std::fs::read_to_string(&path)
            .map_err(|why| Failure::new(format!("WEIR_API_TOKEN_FILE: {path}: {why}")))?,
        _ => return Ok(None),
    };
    let token = token.trim().to_owned();
    if token.len() < 16 || token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(Failure::new("the API token must have at least 16 printable characters and no spaces"));
    }
    Ok(Some(token))
}

/// Lets reading pass, and changes by those who may.
pub async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && let Err(problem) = guard.allows(request.headers(), from) {
        return problem.into_response();
    }
    let caller = Caller(who(request.headers(), from));
    request.extensions_mut().insert(caller);
    next.run(request).await
}

impl Guard {
    fn allows(&self, headers: &HeaderMap, from: Option<SocketAddr>) -> Result<(), Problem> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let refuse = |message: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, message));
        if let Some(token) = &self.token {
            let shown = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            return match shown {
                Some(shown) if same(shown.trim().as_bytes(), token.as_bytes()) => Ok(()),
                Some(_) => refuse("the token is not the control plane's WEIR_API_TOKEN"),
                None => refuse(
                    "send `authorization: Bearer TOKEN`; the command line takes it from WEIR_API_TOKEN",
                ),
            };
        }
        if !from.is_some_and(|from| from.ip().to_canonical().is_loopback()) {
            return refuse(
                "changes from other machines need a token: start the control plane with WEIR_API_TOKEN set",
            );
        }
        // A page that the user of this machine looks at is not the user.
        let host = text(header::HOST).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let local = name == "localhost" || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        if !local || headers.contains_key(header::ORIGIN) {
            return refuse(
                "changes by a browser need a token: start the control plane with WEIR_API_TOKEN set",
            );
        }
        Ok(())
    }
}

/// Without a hint at how much of it is right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// What the caller says of itself, and where it calls from.
fn who(headers: &HeaderMap, from: Option<SocketAddr>) -> String {
    let name = headers.get("x-weir-by").and_then(|value| value.to_str().ok()).unwrap_or("unnamed");
    let name: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    match from {
        Some(from) => format!("{name} from {}", from.ip().to_canonical()),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn allows(token: bool, from: &str, headers: &[(&'static str, &str)]) -> bool {
        let guard = Guard { token: token.then(|| TOKEN.to_owned()) };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        guard.allows(&map, from.parse().ok()).is_ok()
    }

    #[test]
    fn with_a_token_only_the_token_counts() {
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert!(allows(true, "10.0.0.7:5", &[right, ("host", "weir.example")]));
        assert!(!allows(true, "127.0.0.1:5", &[("host", "127.0.0.1")]));
        for wrong in
            ["Bearer 0123456789abcdeF", "Bearer 0123456789abcde", "Bearer ", "Basic 0123456789abcdef"]
        {
            assert!(!allows(true, "127.0.0.1:5", &[("authorization", wrong)]), "{wrong}");
        }
    }

    #[test]
    fn without_a_token_only_this_machine_and_no_browser() {
        for host in ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "localhost"] {
            assert!(allows(false, "127.0.0.1:5", &[("host", host)]), "{host}");
            assert!(allows(false, "[::1]:5", &[("host", host)]), "{host}");
            assert!(allows(false, "[::ffff:127.0.0.1]:5", &[("host", host)]), "{host}");
            assert!(!allows(false, "10.0.0.7:5", &[("host", host)]), "{host}");
            assert!(!allows(false, "127.0.0.1:5", &[("host", host), ("origin", "http://evil.example")]));
        }
        assert!(!allows(false, "127.0.0.1:5", &[("host", "evil.example:8090")]), "a name that was rebound");
        assert!(!allows(false, "no address", &[("host", "localhost")]));
    }
}
