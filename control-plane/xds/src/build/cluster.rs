//! Clusters: one per provider with the attempt filter in it, and those that the filters themselves call.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster,
    circuit_breakers::Thresholds,
    cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy},
};
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common, KeepaliveSettings,
    TransportSocket, data_source, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::extensions::filters::http::aws_request_signing::v3::AwsRequestSigning;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, UpstreamTlsContext,
    common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::Any;
use prost::Name;

use super::any::{millis, number, over_ads, pack, socket};
use super::attempt_name;
use super::filter::{discovered, fixed};
use crate::input::{
    Address, Analyzer, Input, LEDGER_CLUSTER, OTLP_CLUSTER, Provider, Services, Signing, Tls,
};
use crate::resource::Resource;

/// Envoy's defaults (3 retries, 1,024 requests) would stop a failover exactly when it is needed: a retry
/// counts as active for as long as its stream lives. Weir's own limits stand in their place.
const UNLIMITED: u32 = 1_000_000;

/// The cluster of a provider.
pub fn provider(input: &Input, provider: &Provider) -> Resource {
    let mut filters = vec![discovered(&attempt_name(&provider.name), input)];
    if let Some(signing) = &provider.signing {
        // After the translation, so that the signature covers what is sent.
        filters.push(fixed(SIGNER, signer(signing)));
    }
    filters.push(fixed("envoy.filters.http.upstream_codec", pack(&UpstreamCodec {})));
    let mut cluster = cluster(&provider.cluster, &provider.endpoints, provider.tls.as_ref());
    if uses_eds(provider) {
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
        cluster.load_assignment = None;
        cluster.eds_cluster_config =
            Some(EdsClusterConfig { eds_config: Some(over_ads()), ..Default::default() });
    }
    cluster.lb_policy = LbPolicy::LeastRequest.into();
    cluster.typed_extension_protocol_options = http1(filters);
    Resource::new(&provider.cluster, pack(&cluster))
}

/// Envoy's own signer.
pub const SIGNER: &str = "envoy.filters.http.aws_request_signing";

/// Its configuration.
pub fn signer(signing: &Signing) -> Any {
    let config = AwsRequestSigning {
        service_name: signing.service.clone(),
        region: signing.region.clone(),
        host_rewrite: signing.host.clone(),
        ..Default::default()
    };
    pack(&config)
}

/// HTTP/1.1 through these filters.
pub fn http1(filters: Vec<HttpFilter>) -> HashMap<String, Any> {
    protocol_options(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()), filters)
}

/// The hosts of a provider, where they are addresses; host names are resolved by the cluster itself.
pub fn endpoints(provider: &Provider) -> Option<Resource> {
    let body = uses_eds(provider).then(|| pack(&assignment(&provider.cluster, &provider.endpoints)))?;
    Some(Resource::new(&provider.cluster, body))
}

/// What the filters call: the ledger by gRPC, the collector by gRPC or HTTP, and detectors outside.
pub fn services(input: &Input) -> Vec<Resource> {
    let Services { ledger, otlp, otlp_http, otlp_tls, analyzers } = &input.services;
    let ledger = ledger.iter().map(|to| service(LEDGER_CLUSTER, to, None, false));
    let otlp = otlp.iter().map(|to| service(OTLP_CLUSTER, to, otlp_tls.as_ref(), *otlp_http));
    ledger.chain(otlp).chain(analyzers.iter().map(analyzer)).collect()
}

fn analyzer(of: &Analyzer) -> Resource {
    let mut cluster = cluster(&of.cluster, std::slice::from_ref(&of.endpoint), of.tls.as_ref());
    cluster.typed_extension_protocol_options = http1(Vec::new());
    Resource::new(&of.cluster, pack(&cluster))
}

fn service(name: &str, to: &Address, tls: Option<&Tls>, over_http1: bool) -> Resource {
    let mut cluster = cluster(name, std::slice::from_ref(to), tls);
    if !to.is_ip() {
        // In Kubernetes the name soon has another address when a pod is replaced.
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into()));
    }
    if over_http1 {
        cluster.typed_extension_protocol_options = http1(Vec::new());
        return Resource::new(name, pack(&cluster));
    }
    // A peer that is gone without a word is noticed, instead of each call waiting for its timeout.
    let keepalive =
        KeepaliveSettings { interval: millis(5_000), timeout: millis(2_000), ..Default::default() };
    let http2 = Http2ProtocolOptions { connection_keepalive: Some(keepalive), ..Default::default() };
    let protocol = ProtocolConfig::Http2ProtocolOptions(http2);
    cluster.typed_extension_protocol_options = protocol_options(protocol, Vec::new());
    Resource::new(name, pack(&cluster))
}

/// A cluster with what all have in common.
pub fn cluster(name: &str, to: &[Address], tls: Option<&Tls>) -> Cluster {
    let kind = match to {
        all if all.iter().all(Address::is_ip) => DiscoveryType::Static,
        // A cloud's name has many and changing addresses: connections stay with those that they have.
        [_] => DiscoveryType::LogicalDns,
        _ => DiscoveryType::StrictDns,
    };
    let thresholds = Thresholds {
        max_connections: number(UNLIMITED),
        max_pending_requests: number(UNLIMITED),
        max_requests: number(UNLIMITED),
        max_retries: number(UNLIMITED),
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
        // The next slot is waiting: an address that does not answer is given up early.
        connect_timeout: millis(1_000),
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        circuit_breakers: Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }),
        load_assignment: Some(assignment(name, to)),
        transport_socket: tls.map(tls_socket),
        ..Default::default()
    }
}

fn uses_eds(provider: &Provider) -> bool {
    provider.endpoints.iter().all(Address::is_ip)
}

fn assignment(name: &str, to: &[Address]) -> ClusterLoadAssignment {
    let endpoints =
        vec![LocalityLbEndpoints { lb_endpoints: to.iter().map(host).collect(), ..Default::default() }];
    ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..Default::default() }
}

/// A host of a cluster.
pub fn host(to: &Address) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: socket(to),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn protocol_options(protocol: ProtocolConfig, http_filters: Vec<HttpFilter>) -> HashMap<String, Any> {
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(Common { idle_timeout: millis(300_000), ..Default::default() }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })),
        http_filters,
        ..Default::default()
    };
    HashMap::from([(HttpProtocolOptions::full_name(), pack(&options))])
}

/// TLS as a provider wants it.
pub fn tls_socket(tls: &Tls) -> TransportSocket {
    let is_ip = tls.sni.parse::<std::net::IpAddr>().is_ok();
    let name =
        StringMatcher { match_pattern: Some(MatchPattern::Exact(tls.sni.clone())), ..Default::default() };
    let validation = CertificateValidationContext {
        trusted_ca: Some(DataSource {
            specifier: Some(data_source::Specifier::Filename(tls.ca_file.clone())),
            ..Default::default()
        }),
        match_typed_subject_alt_names: vec![SubjectAltNameMatcher {
            san_type: if is_ip { SanType::IpAddress } else { SanType::Dns }.into(),
            matcher: Some(name),
            ..Default::default()
        }],
        ..Default::default()
    };
    let context = UpstreamTlsContext {
        // RFC 6066 §3: an address is no server name.
        sni: if is_ip { String::new() } else { tls.sni.clone() },
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
            ..Default::default()
        }),
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(&context))),
    }
}
