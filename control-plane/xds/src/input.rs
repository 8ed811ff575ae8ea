//! What a snapshot is made from: plain data, so that neither the policy's types nor their changes reach in here.
//!
//! It can be written as JSON, in which form the golden files hold it.

use serde::{Deserialize, Serialize};

/// Name of the ECDS resource of the client's side.
pub const EXCHANGE: &str = "weir.exchange";
/// Name of the ECDS resource of the provider's side, followed by `.` and the provider's name.
pub const ATTEMPT: &str = "weir.attempt";
/// Name of the ECDS resource of all providers' side, for clusters that hold several.
pub const ATTEMPTS: &str = "weir.attempts";
/// Request header in which the exchange filter names the cluster, where tries cannot pick theirs.
pub const CLUSTER_HEADER: &str = "x-weir-cluster";
/// Request header in which the exchange filter names the cluster of a copy, if there is to be one.
pub const MIRROR_HEADER: &str = "x-weir-mirror";
/// Cluster of the control plane's ledger.
pub const LEDGER_CLUSTER: &str = "weir-ledger";
/// Cluster of the OTLP collector.
pub const OTLP_CLUSTER: &str = "weir-otlp";

/// One version of everything that a gateway is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    /// Version of the policy, shown in the status of gateways.
    pub policy: String,
    /// Configuration of the exchange filter, JSON.
    pub exchange: String,
    /// Where requests can go.
    pub providers: Vec<Provider>,
    /// Clusters over several providers; only in the form of that name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<List>,
    /// The listener; `None` where the filters are injected into a gateway that others configure.
    pub gateway: Option<Gateway>,
    /// What the filters themselves talk to.
    pub services: Services,
    /// The wasm module as a gateway sees it.
    pub module: Module,
    /// When another try is made.
    pub retry: Retry,
    /// What the gateway's release can do.
    pub form: Form,
}

/// How a gateway is told to try again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Every try picks its cluster anew: Envoy 1.39 and newer.
    #[default]
    Slots,
    /// All tries in one cluster, which holds the providers of a request's targets as priorities: older ones.
    Lists,
    /// One try: the filters of an older Envoy whose clusters others configure. The next try, meant for another
    /// provider, would go to the first provider's cluster, where it is refused as misrouted. The client gets the
    /// first provider's own answer instead.
    Single,
}

impl Form {
    /// The form for a release of Envoy as it names itself; one that does not say is taken for a new one.
    pub fn of(release: &str) -> Form {
        let mut numbers = release.split('.').map(|number| number.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor)) if (major, minor) < (1, 39) => Form::Lists,
            _ => Form::Slots,
        }
    }
}

/// One cluster over several providers, tried in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// Name of the cluster.
    pub cluster: String,
    /// Names of the providers, each once.
    pub providers: Vec<String>,
}

/// One provider and the cluster that reaches it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// Unique name.
    pub name: String,
    /// Name of its cluster.
    pub cluster: String,
    /// Configuration of its attempt filter, JSON.
    pub attempt: String,
    /// Where it answers: addresses or host names.
    pub endpoints: Vec<Address>,
    /// TLS to it; `None` is plain text.
    pub tls: Option<Tls>,
    /// Requests are signed by Envoy.
    pub signing: Option<Signing>,
}

/// Host name or IP address, and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Address {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// An address from its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Whether no name needs to be resolved.
    pub fn is_ip(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }
}

impl std::str::FromStr for Address {
    type Err = String;

    /// Reads `HOST:PORT` or `[IPv6]:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        if host.is_empty() { Err(wrong()) } else { Ok(Self::new(host, port)) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// TLS to a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Server name that is asked for and must be in the certificate.
    pub sni: String,
    /// File of trusted authorities on the gateway's machine.
    pub ca_file: String,
}

/// AWS Signature Version 4 by Envoy's own filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signing {
    /// AWS region.
    pub region: String,
    /// Name of the AWS service in the signature.
    pub service: String,
    /// `host` that is signed and sent.
    pub host: String,
}

/// The listener and what holds for every request on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Where it listens.
    pub listen: Address,
    /// Largest body that the exchange filter takes, in bytes.
    pub max_body: u64,
    /// Whole exchange in milliseconds; 0 is no limit.
    pub request_timeout_ms: u64,
    /// One line per request.
    pub access_log: AccessLog,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: Address::new("127.0.0.1", 8080),
            max_body: 32 << 20,
            request_timeout_ms: 600_000,
            access_log: AccessLog::Stdout,
        }
    }
}

/// Where access log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLog {
    /// None are written.
    Off,
    /// Envoy's standard output.
    #[default]
    Stdout,
    /// A file on the gateway's machine.
    File(String),
}

/// What the filters themselves talk to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// The ledger's gRPC.
    pub ledger: Option<Address>,
    /// An OTLP collector.
    pub otlp: Option<Address>,
    /// It speaks OTLP/HTTP, over HTTP/1.1, not gRPC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub otlp_http: bool,
    /// TLS to the collector.
    pub otlp_tls: Option<Tls>,
    /// Detectors outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analyzers: Vec<Analyzer>,
}

/// A detector outside and the cluster that reaches it, over HTTP/1.1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Analyzer {
    /// Name of its cluster.
    pub cluster: String,
    /// Where it answers.
    pub endpoint: Address,
    /// TLS to it; `None` is plain text.
    pub tls: Option<Tls>,
}

/// The wasm module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Module {
    /// File that policies run on. A new module comes under a new name: that is what makes Envoy load it.
    pub file: String,
    /// File that answers 503 until the first policy arrives. Its name stays, so that a new module changes
    /// neither listener nor cluster.
    pub fallback: String,
}

/// When another try is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Tries in all, the first included.
    pub tries: u32,
    /// `connect`, `reset`, `429`, `5xx`.
    pub on: Vec<String>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 1, on: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_before_1_39_get_lists() {
        for (release, form) in [
            ("1.40.0", Form::Slots),
            ("1.39.3", Form::Slots),
            ("2.0.0", Form::Slots),
            ("1.38.9", Form::Lists),
            ("1.36.4", Form::Lists),
            ("", Form::Slots),
            ("custom", Form::Slots),
        ] {
            assert_eq!(Form::of(release), form, "{release}");
        }
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:80", "[::1]:8080", "weir-control.weir:18000"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "host", ":80", "host:port", "host:70000"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
