//! Where a provider or collector answers: `http(s)://HOST[:PORT][/PREFIX]`.

/// A parsed endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// Without a trailing slash: empty or `/openai`.
    pub prefix: String,
}

impl Endpoint {
    /// Reads a URL; `Err` says what is wrong with it.
    pub fn parse(url: &str) -> Result<Endpoint, &'static str> {
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("expected http:// or https://"),
        };
        if url.contains(['?', '#', '@', '\\']) || url.contains(|c: char| !c.is_ascii_graphic()) {
            return Err("only a scheme, a host, a port and a path are allowed");
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or("a bracket is not closed")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "not an IPv6 address")?;
                (host, after)
            }
            None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => {
                port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("the port is not a number")?
            }
            None if port.is_empty() => [80, 443][usize::from(tls)],
            None => return Err("expected a port after the address"),
        };
        let name = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(name) {
            return Err("the host is missing or not a host name");
        }
        let prefix = path.trim_end_matches('/');
        if prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//") {
            return Err("the path must not have empty or dotted parts");
        }
        Ok(Endpoint { host: host.to_ascii_lowercase(), port, tls, prefix: prefix.to_owned() })
    }

    /// `:authority` of requests to it: without the port that the scheme implies.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == [80, 443][usize::from(self.tls)] { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }
}

/// The host that Bedrock's runtime has in a region.
pub fn bedrock_host(region: &str) -> String {
    let suffix = match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        region if region.starts_with("us-iso-") => "c2s.ic.gov",
        region if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    };
    format!("bedrock-runtime.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_or_refused() {
        let ok = |url: &str| {
            let e = Endpoint::parse(url).unwrap();
            (e.authority(), e.port, e.tls, e.prefix)
        };
        assert_eq!(ok("http://127.0.0.1:9101"), ("127.0.0.1:9101".into(), 9101, false, String::new()));
        assert_eq!(ok("https://API.example/openai/"), ("api.example".into(), 443, true, "/openai".into()));
        assert_eq!(ok("https://[::1]:8443"), ("[::1]:8443".into(), 8443, true, String::new()));
        let bad = [
            "127.0.0.1:9101",
            "ftp://x",
            "http://",
            "http://u@x",
            "http://x:0",
            "http://x:99999",
            "http://x?q",
            "http://x/../y",
            "http://a b",
            "http://[::1",
            "http://[::1]x",
            "http://x y",
        ];
        for url in bad {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn bedrock_hosts_follow_the_partition() {
        assert_eq!(bedrock_host("us-east-1"), "bedrock-runtime.us-east-1.amazonaws.com");
        assert_eq!(bedrock_host("cn-north-1"), "bedrock-runtime.cn-north-1.amazonaws.com.cn");
    }
}
