//! What the control plane reads: gateways' messages, its own log after a crash, Envoys' requests, policies.

use std::str::FromStr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use weir_config::policy;
use weir_lease::message::SyncRequest;
use weir_ledger::recover;
use weir_xds::{In, Kind, Resource, Session, Snapshot, release};

use super::{Target, parts, seeds, words};

pub const LEDGER: Target = Target {
    name: "ledger_messages",
    about: "what gateways tell the ledger: read or refused, and written as it was read",
    run: |input| {
        if let Ok(request) = SyncRequest::decode(input) {
            let again = SyncRequest::decode(request.encode_to_vec().as_slice()).expect("as it was written");
            assert_eq!(again, request);
        }
    },
    seeds: || vec![SyncRequest { sid: 9, epoch: 1, ..SyncRequest::default() }.encode_to_vec()],
    words: &["\u{8}\u{9}", "\u{12}\u{4}", "\u{1a}", "\u{7f}"],
    nanos_per_byte: 10_000,
};

pub const LEDGER_LOG: Target = Target {
    name: "ledger_log",
    about: "the ledger's log after a crash: a good beginning is read, a torn end is cut off, damage is told",
    run: |input| {
        let mut entries = 0;
        if let Ok((good, _)) = recover(input, &mut |_| entries += 1) {
            assert!(good <= input.len());
            let mut again = 0;
            let (same, _) = recover(&input[..good], &mut |_| again += 1).expect("what was good");
            assert_eq!((same, again), (good, entries));
        }
    },
    seeds: Vec::new,
    words: &["\0\0\0\0", "\u{1}"],
    nanos_per_byte: 10_000,
};

fn snapshot() -> Arc<Snapshot> {
    let body = |kind: Kind| Any { type_url: kind.type_url().to_owned(), value: vec![1, 2, 3] };
    let all = [Kind::Cluster, Kind::Listener].map(|kind| (kind, Resource::new("weir", body(kind))));
    Arc::new(Snapshot::new("7", all))
}

pub const XDS: Target = Target {
    name: "xds",
    about: "requests of Envoys, a zero byte between them, on both kinds of streams: a session answers boundedly, whatever nonces and names it hears",
    run: |input| {
        for delta in [false, true] {
            let mut session = Session::new(snapshot(), None);
            let mut out = Vec::new();
            for (at, message) in parts(input).take(50).enumerate() {
                let heard = match delta {
                    true => DeltaDiscoveryRequest::decode(message).ok().map(In::Delta),
                    false => DiscoveryRequest::decode(message).ok().map(In::Sotw),
                };
                let Some(heard) = heard else { continue };
                session.handle(at as u64 * 1_000, heard, &mut out);
                session.handle(at as u64 * 1_000 + 500, In::Tick, &mut out);
            }
            assert!(out.len() <= 50 + input.len() * 2, "{} answers", out.len());
            _ = session.progress();
        }
        if let Ok(node) = Node::decode(input) {
            assert!(release(&node).len() <= input.len() + 40);
        }
    },
    seeds: || {
        let node = Some(Node { id: "gw".into(), cluster: "c".into(), ..Node::default() });
        let ask = |nonce: &str| DiscoveryRequest {
            type_url: Kind::Cluster.type_url().into(),
            node: node.clone(),
            response_nonce: nonce.into(),
            resource_names: vec!["weir".into()],
            ..DiscoveryRequest::default()
        };
        let delta = DeltaDiscoveryRequest {
            type_url: Kind::Listener.type_url().into(),
            node: node.clone(),
            resource_names_subscribe: vec!["*".into()],
            ..DeltaDiscoveryRequest::default()
        };
        vec![
            [ask("").encode_to_vec(), ask("1").encode_to_vec()].join(&0),
            [delta.encode_to_vec(), delta.encode_to_vec()].join(&0),
        ]
    },
    words: &[
        "type.googleapis.com/envoy.config.listener.v3.Listener",
        "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "weir",
        "*",
        "\0",
        "\u{1a}\u{4}",
    ],
    nanos_per_byte: 400_000,
};

pub const POLICY: Target = Target {
    name: "policy",
    about: "policy files and the quantities that the API reads: refused with a place, or checked to the end; a quantity is what it is written as",
    run: |input| {
        let text = String::from_utf8_lossy(input);
        match weir_model::read(&text) {
            Ok(document) => {
                document.check();
                document.unbuilt();
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.iter().all(|one| !one.to_string().is_empty()))
            }
        }
        for line in text.lines().take(20) {
            _ = policy::Usd::from_str(line);
            _ = policy::Count::from_str(line);
            _ = policy::Duration::from_str(line);
        }
    },
    seeds: || {
        let mut all = seeds(&[
            "apiVersion: weir.dev/v1\nproviders: []\n",
            "{\"apiVersion\":\"weir.dev/v1\"}",
            "5 USD\n$5.50\n1M\n64k\n1h30m\n250ms",
        ]);
        let first = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/first.yaml");
        all.extend(std::fs::read(first).ok());
        all
    },
    words: words::POLICY,
    nanos_per_byte: 200_000,
};
