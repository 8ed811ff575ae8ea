//! From a compiled policy to what snapshots are made from. The two crates do not know each other.

use weir_config::filter;
use weir_model::Compiled;
use weir_xds::{
    AccessLog, Address, Analyzer, Form, Gateway, Input, List, Module, Provider, Retry, Services, Signing, Tls,
};

use crate::lists::lists;

/// What a control plane adds to a policy.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where gateways reach the ledger.
    pub ledger: Address,
    /// Where gateways write their access log.
    pub access_log: AccessLog,
    /// File of trusted authorities on the gateways' machines.
    pub ca_file: String,
}

/// The input of a snapshot. `add` puts into the filter's configuration what no policy has.
pub fn input(
    compiled: &Compiled,
    module: &Module,
    around: &Surroundings,
    form: Form,
    add: &dyn Fn(&mut filter::Exchange),
) -> Input {
    let mut exchange = compiled.exchange.clone();
    add(&mut exchange);
    // Lists need clusters and a route that Weir writes.
    let form = if form == Form::Lists && compiled.listen.is_none() { Form::Single } else { form };
    match form {
        Form::Slots => {}
        Form::Lists => exchange.lists = Some(lists(compiled)),
        // The filter asks Envoy for tries by itself, and plans no more targets than tries.
        Form::Single => exchange.retry.tries = 1,
    }
    let providers = compiled.clusters.iter().map(|cluster| provider(cluster, compiled, around)).collect();
    Input {
        policy: compiled.version.clone(),
        exchange: json(&exchange),
        providers,
        lists: exchange.lists.iter().flatten().map(list).collect(),
        gateway: compiled.listen.map(|listen| Gateway {
            listen: Address::new(listen.ip().to_string(), listen.port()),
            max_body: compiled.max_body,
            request_timeout_ms: compiled.request_timeout_ms,
            access_log: around.access_log.clone(),
        }),
        services: Services {
            // Always there, so that the first budget of a policy finds a warm cluster.
            ledger: Some(around.ledger.clone()),
            otlp: compiled.otlp.as_ref().map(|(host, port)| Address::new(host, *port)),
            otlp_http: compiled.otlp_http,
            otlp_tls: None,
            analyzers: compiled.analyzers.iter().map(|of| analyzer(of, around)).collect(),
        },
        module: module.clone(),
        retry: Retry { tries: exchange.retry.tries, on: exchange.retry.on.clone() },
        form,
    }
}

fn list(list: &filter::List) -> List {
    List { cluster: list.cluster.clone(), providers: list.providers.clone() }
}

fn analyzer(of: &weir_model::AnalyzerCluster, around: &Surroundings) -> Analyzer {
    let (host, port) = &of.endpoint;
    Analyzer {
        cluster: of.name.clone(),
        endpoint: Address::new(host, *port),
        tls: of.tls.then(|| Tls { sni: name_of(&of.authority).to_owned(), ca_file: around.ca_file.clone() }),
    }
}

fn provider(cluster: &weir_model::Cluster, compiled: &Compiled, around: &Surroundings) -> Provider {
    let attempt = compiled.attempts.iter().find(|(name, _)| *name == cluster.provider);
    let host = cluster.authority.clone();
    Provider {
        name: cluster.provider.clone(),
        cluster: cluster.name.clone(),
        attempt: attempt.map(|(_, config)| json::<filter::Attempt>(config)).unwrap_or_default(),
        endpoints: cluster.endpoints.iter().map(|(host, port)| Address::new(host, *port)).collect(),
        tls: cluster.tls.then(|| Tls { sni: name_of(&host).to_owned(), ca_file: around.ca_file.clone() }),
        signing: cluster.signing.as_ref().map(|signing| Signing {
            region: signing.region.clone(),
            service: signing.service.clone(),
            host,
        }),
    }
}

/// The host of an authority, without port and brackets.
fn name_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn json<T: serde::Serialize>(config: &T) -> String {
    // Maps with string keys and plain values: there is nothing in them that JSON cannot hold.
    serde_json::to_string(config).unwrap_or_default()
}
