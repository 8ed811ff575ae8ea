//! A session against a model of Envoy that is driven by hand: no time passes, no socket is opened.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::google::rpc::Status;

use super::*;
use crate::input::{Address, Gateway, Input, Provider};

fn input(providers: &[&str], policy: &str) -> Input {
    let provider = |name: &&str| Provider {
        name: (*name).to_owned(),
        cluster: format!("weir-{name}"),
        attempt: format!("{{\"provider\":\"{name}\"}}"),
        endpoints: vec![Address::new("127.0.0.1", 9101)],
        ..Provider::default()
    };
    let clusters: Vec<String> =
        providers.iter().map(|name| format!("{{\"cluster\":\"weir-{name}\"}}")).collect();
    Input {
        policy: policy.to_owned(),
        exchange: format!("{{\"version\":\"{policy}\",\"providers\":[{}]}}", clusters.join(",")),
        providers: providers.iter().map(provider).collect(),
        gateway: Some(Gateway::default()),
        ..Input::default()
    }
}

fn target(providers: &[&str], policy: &str) -> Arc<Snapshot> {
    let snapshot = crate::snapshot(&input(providers, policy));
    assert_eq!(crate::consistent(&snapshot), []);
    Arc::new(snapshot)
}

/// An answer in either way of speaking.
#[derive(Clone, Debug)]
struct Answer {
    kind: Kind,
    nonce: String,
    version: String,
    /// Names with versions; a state of the world has one for all.
    resources: BTreeMap<String, String>,
    removed: Vec<String>,
}

/// One gateway: what it was told, in order.
struct Gw {
    session: Session,
    delta: bool,
    now: u64,
    answers: Vec<Answer>,
    events: Vec<Event>,
    asked: BTreeMap<Kind, BTreeSet<String>>,
    versions: BTreeMap<Kind, (String, String)>,
}

impl Gw {
    fn new(target: &Arc<Snapshot>, delta: bool) -> Self {
        Self {
            session: Session::new(target.clone(), None),
            delta,
            now: 0,
            answers: Vec::new(),
            events: Vec::new(),
            asked: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    fn feed(&mut self, input: In) {
        let mut out = Vec::new();
        self.session.handle(self.now, input, &mut out);
        for item in out {
            match item {
                Out::Event(event) => self.events.push(event),
                Out::Delta(answer) => {
                    let resources = answer.resources.iter().map(|r| (r.name.clone(), r.version.clone()));
                    self.answers.push(Answer {
                        kind: Kind::of(&answer.type_url).expect("a kind"),
                        nonce: answer.nonce,
                        version: String::new(),
                        resources: resources.collect(),
                        removed: answer.removed_resources,
                    });
                }
                Out::Sotw(answer) => {
                    let kind = Kind::of(&answer.type_url).expect("a kind");
                    let named = answer.resources.iter().map(|body| {
                        let all = self.session.target.of(kind);
                        let found = all.into_iter().find(|resource| resource.body == *body).expect("ours");
                        (found.name.clone(), found.version.clone())
                    });
                    self.answers.push(Answer {
                        kind,
                        nonce: answer.nonce,
                        version: answer.version_info,
                        resources: named.collect(),
                        removed: Vec::new(),
                    });
                }
            }
        }
    }

    /// Asks for more names of a kind; none is everything.
    fn ask(&mut self, kind: Kind, names: &[&str]) {
        let all = self.asked.entry(kind).or_default();
        all.extend(names.iter().map(|name| (*name).to_owned()));
        let all: Vec<String> = all.iter().cloned().collect();
        let type_url = kind.type_url().to_owned();
        let (nonce, version) = self.versions.get(&kind).cloned().unwrap_or_default();
        if self.delta {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            self.feed(In::Delta(DeltaDiscoveryRequest {
                type_url,
                resource_names_subscribe: names,
                ..Default::default()
            }));
        } else {
            self.feed(In::Sotw(DiscoveryRequest {
                type_url,
                resource_names: all,
                response_nonce: nonce,
                version_info: version,
                ..Default::default()
            }));
        }
    }

    fn reply(&mut self, answer: &Answer, refusal: Option<&str>) {
        let error_detail =
            refusal.map(|message| Status { message: message.to_owned(), ..Default::default() });
        let type_url = answer.kind.type_url().to_owned();
        let response_nonce = answer.nonce.clone();
        if self.delta {
            return self.feed(In::Delta(DeltaDiscoveryRequest {
                type_url,
                response_nonce,
                error_detail,
                ..Default::default()
            }));
        }
        let names = self.asked.get(&answer.kind).cloned().unwrap_or_default();
        let version = match refusal {
            None => answer.version.clone(),
            Some(_) => {
                self.versions.get(&answer.kind).map(|(_, version)| version.clone()).unwrap_or_default()
            }
        };
        self.versions.insert(answer.kind, (response_nonce.clone(), version.clone()));
        self.feed(In::Sotw(DiscoveryRequest {
            type_url,
            response_nonce,
            error_detail,
            version_info: version,
            resource_names: names.into_iter().collect(),
            ..Default::default()
        }));
    }

    /// Takes the oldest answer, and asks for what a real Envoy asks for then.
    fn step(&mut self) -> Option<Answer> {
        if self.answers.is_empty() {
            return None;
        }
        let answer = self.answers.remove(0);
        self.reply(&answer, None);
        match answer.kind {
            Kind::Cluster => {
                for name in answer.resources.keys() {
                    let provider = name.trim_start_matches("weir-").to_owned();
                    let attempt = format!("weir.attempt.{provider}");
                    if !self.asked.get(&Kind::Endpoints).is_some_and(|asked| asked.contains(name)) {
                        self.ask(Kind::Endpoints, &[name]);
                        self.ask(Kind::Extension, &[&attempt]);
                    }
                }
            }
            Kind::Listener => {
                self.ask(Kind::Routes, &["weir"]);
                self.ask(Kind::Extension, &[EXCHANGE]);
            }
            _ => {}
        }
        Some(answer)
    }

    /// Takes everything; answers what it was, as `KIND name`.
    fn settle(&mut self) -> Vec<String> {
        let mut order = Vec::new();
        while let Some(answer) = self.step() {
            order.extend(answer.resources.keys().map(|name| format!("{} {name}", answer.kind.name())));
            order.extend(answer.removed.iter().map(|name| format!("-{} {name}", answer.kind.name())));
        }
        order
    }

    fn boot(target: &Arc<Snapshot>, delta: bool) -> Self {
        let mut gateway = Self::new(target, delta);
        gateway.ask(Kind::Cluster, &[]);
        gateway.settle();
        gateway.ask(Kind::Listener, &[]);
        gateway.settle();
        assert!(gateway.accepted(target), "{:?}", gateway.events);
        gateway.events.clear();
        gateway
    }

    fn accepted(&self, target: &Snapshot) -> bool {
        let accepted = Event::Accepted { version: target.version.clone(), policy: target.policy.clone() };
        self.events.contains(&accepted)
    }
}

fn both(test: impl Fn(bool)) {
    test(true);
    test(false);
}

#[test]
fn a_gateway_that_starts_gets_everything_and_the_policy_last() {
    both(|delta| {
        let target = target(&["a", "b"], "1");
        let mut gateway = Gw::new(&target, delta);
        gateway.ask(Kind::Cluster, &[]);
        // Both asked at once: the listener still waits for the clusters and all that is in them.
        gateway.ask(Kind::Listener, &[]);
        let order = gateway.settle();
        let at = |name: &str| {
            order.iter().position(|sent| sent == name).unwrap_or_else(|| panic!("{name}: {order:?}"))
        };
        for earlier in [
            "CDS weir-a",
            "CDS weir-b",
            "EDS weir-a",
            "EDS weir-b",
            "ECDS weir.attempt.a",
            "ECDS weir.attempt.b",
        ] {
            assert!(at(earlier) < at("LDS weir"), "{order:?}");
        }
        assert!(at("RDS weir") < at("ECDS weir.exchange"), "{order:?}");
        assert!(gateway.accepted(&target));
    });
}

#[test]
fn a_change_of_rules_sends_the_policy_and_nothing_else() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        let next = target(&["a"], "2");
        gateway.feed(In::Target(next.clone()));
        assert_eq!(gateway.settle(), ["ECDS weir.exchange"]);
        assert!(gateway.accepted(&next));
    });
}

#[test]
fn the_same_again_sends_nothing() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        gateway.feed(In::Target(target(&["a"], "1")));
        assert_eq!(gateway.settle(), Vec::<String>::new());
        assert_eq!(gateway.events, []);
    });
}

#[test]
fn a_new_provider_is_there_before_the_policy_that_names_it() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        let next = target(&["a", "b"], "2");
        gateway.feed(In::Target(next.clone()));
        let order = gateway.settle();
        let wanted = ["CDS weir-b", "EDS weir-b", "ECDS weir.attempt.b", "RDS weir", "ECDS weir.exchange"];
        let order: Vec<&String> = order.iter().filter(|sent| *sent != "CDS weir-a").collect();
        assert_eq!(order, wanted);
        assert!(gateway.accepted(&next));
    });
}

#[test]
fn a_removed_provider_goes_after_the_policy_that_does_not_name_it() {
    let mut gateway = Gw::boot(&target(&["a", "b"], "1"), true);
    let next = target(&["a"], "2");
    gateway.feed(In::Target(next.clone()));
    let order = gateway.settle();
    let at = |name: &str| {
        order.iter().position(|sent| sent == name).unwrap_or_else(|| panic!("{name}: {order:?}"))
    };
    assert!(at("ECDS weir.exchange") < at("-CDS weir-b"), "{order:?}");
    assert!(gateway.accepted(&next));
}

#[test]
fn a_refused_cluster_keeps_the_whole_old_policy() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        let next = target(&["a", "b"], "2");
        gateway.feed(In::Target(next.clone()));
        let answer = gateway.answers.remove(0);
        assert_eq!(answer.kind, Kind::Cluster);
        gateway.reply(&answer, Some("no such filter"));
        gateway.now += 10 * PATIENCE_MS;
        gateway.feed(In::Tick);
        assert_eq!(gateway.settle(), Vec::<String>::new());
        let [Event::Rejected { version, policy, kind: Kind::Cluster, names, message }] = &gateway.events[..]
        else {
            panic!("{:?}", gateway.events)
        };
        assert_eq!((version, policy.as_str(), message.as_str()), (&next.version, "2", "no such filter"));
        assert!(names.contains(&"weir-b".to_owned()));
        assert!(!gateway.accepted(&next));
        // The next target is a new try.
        let mended = target(&["a", "c"], "3");
        gateway.feed(In::Target(mended.clone()));
        gateway.settle();
        assert!(gateway.accepted(&mended));
    });
}

#[test]
fn a_refused_policy_is_not_sent_again_until_it_changes() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        gateway.feed(In::Target(target(&["a"], "2")));
        let answer = gateway.answers.remove(0);
        gateway.reply(&answer, Some("on_configure said no"));
        gateway.now += 10 * PATIENCE_MS;
        gateway.feed(In::Tick);
        gateway.feed(In::Target(target(&["a"], "2")));
        assert!(gateway.answers.is_empty());
        // Back to what it has: nothing to send, and that is known.
        let first = target(&["a"], "1");
        gateway.feed(In::Target(first));
        assert_eq!(gateway.settle(), Vec::<String>::new());
        let third = target(&["a"], "3");
        gateway.feed(In::Target(third.clone()));
        assert_eq!(gateway.settle(), ["ECDS weir.exchange"]);
        assert!(gateway.accepted(&third));
    });
}

#[test]
fn one_answer_per_kind_is_under_way_and_the_newest_target_wins() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        for policy in ["2", "3", "4"] {
            gateway.feed(In::Target(target(&["a"], policy)));
        }
        assert_eq!(gateway.answers.len(), 1, "the others wait for its ACK");
        assert_eq!(gateway.settle().len(), 2, "the first and the newest, nothing between");
        assert!(gateway.accepted(&target(&["a"], "4")));
        assert!(!gateway.accepted(&target(&["a"], "3")));
    });
}

#[test]
fn a_stale_nonce_changes_nothing() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        gateway.feed(In::Target(target(&["a"], "2")));
        let mut stale = gateway.answers[0].clone();
        stale.nonce = "0".into();
        gateway.reply(&stale, Some("about something else"));
        assert_eq!(gateway.events, []);
        gateway.settle();
        assert!(gateway.accepted(&target(&["a"], "2")));
    });
}

#[test]
fn a_changed_cluster_gets_its_hosts_again() {
    both(|delta| {
        let mut gateway = Gw::boot(&target(&["a"], "1"), delta);
        let mut changed = input(&["a"], "1");
        changed.providers[0].signing = Some(crate::Signing::default());
        gateway.feed(In::Target(Arc::new(crate::snapshot(&changed))));
        // It is warmed anew, waits for hosts, and asks nobody for them.
        assert_eq!(gateway.settle(), ["CDS weir-a", "EDS weir-a"]);
    });
}

#[test]
fn silence_holds_the_policy_up_for_a_while_only() {
    let mut gateway = Gw::boot(&target(&["a"], "1"), true);
    gateway.feed(In::Target(target(&["a", "b"], "2")));
    // It takes the cluster and never asks for its hosts.
    let answer = gateway.answers.remove(0);
    gateway.reply(&answer, None);
    assert!(gateway.answers.is_empty());
    assert_eq!(gateway.session.deadline(), Some(gateway.now + PATIENCE_MS));
    gateway.now += PATIENCE_MS;
    gateway.feed(In::Tick);
    let order = gateway.settle();
    assert_eq!(order, ["RDS weir", "ECDS weir.exchange"]);
}

#[test]
fn a_gateway_that_comes_back_is_sent_only_what_differs() {
    let first = target(&["a"], "1");
    let next = target(&["a"], "2");
    let mut gateway = Gw::new(&next, true);
    let versions =
        |kind: Kind| first.of(kind).map(|r| (r.name.clone(), r.version.clone())).collect::<Vec<_>>();
    for kind in Kind::ALL {
        let names = if kind.is_wildcard() {
            Vec::new()
        } else {
            versions(kind).into_iter().map(|(name, _)| name).collect()
        };
        gateway.feed(In::Delta(DeltaDiscoveryRequest {
            type_url: kind.type_url().into(),
            resource_names_subscribe: names,
            initial_resource_versions: versions(kind).into_iter().collect(),
            ..Default::default()
        }));
    }
    let sent: Vec<Answer> =
        gateway.answers.iter().filter(|answer| !answer.resources.is_empty()).cloned().collect();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].resources.keys().collect::<Vec<_>>(), ["weir.exchange"]);
}

#[test]
fn what_does_not_exist_is_said_so_once() {
    let mut gateway = Gw::boot(&target(&["a"], "1"), true);
    gateway.ask(Kind::Extension, &["weir.attempt.gone"]);
    assert_eq!(gateway.settle(), ["-ECDS weir.attempt.gone"]);
    gateway.feed(In::Target(target(&["a"], "2")));
    assert_eq!(gateway.settle(), ["ECDS weir.exchange"]);
}

#[test]
fn what_is_given_up_and_asked_for_again_is_sent_again() {
    let mut gateway = Gw::boot(&target(&["a"], "1"), true);
    gateway.feed(In::Delta(DeltaDiscoveryRequest {
        type_url: Kind::Endpoints.type_url().into(),
        resource_names_unsubscribe: vec!["weir-a".into()],
        ..Default::default()
    }));
    assert!(gateway.answers.is_empty());
    gateway.ask(Kind::Endpoints, &["weir-a"]);
    assert_eq!(gateway.settle(), ["EDS weir-a"]);
}

#[test]
fn a_service_for_filters_alone_serves_filters_alone() {
    let target = target(&["a"], "1");
    let mut gateway =
        Gw { session: Session::new(target.clone(), Some(Kind::Extension)), ..Gw::new(&target, true) };
    // Such a stream need not name the kind.
    gateway.feed(In::Delta(DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["weir.exchange".into()],
        ..Default::default()
    }));
    assert_eq!(gateway.settle(), ["ECDS weir.exchange"]);
    assert!(gateway.accepted(&target));
}

#[test]
fn who_it_is_is_told_once() {
    use envoy_types::pb::envoy::config::core::v3::BuildVersion;
    use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
    let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let build = BuildVersion { version: Some(version), ..Default::default() };
    let node = Node {
        id: "gateway-1".into(),
        cluster: "weir".into(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
        ..Default::default()
    };
    let mut gateway = Gw::new(&target(&["a"], "1"), true);
    for _ in 0..2 {
        gateway.feed(In::Delta(DeltaDiscoveryRequest { node: Some(node.clone()), ..Default::default() }));
    }
    let hello = Event::Hello { node: "gateway-1".into(), cluster: "weir".into(), envoy: "1.40.0".into() };
    assert_eq!(gateway.events, [hello]);
}

/// Any order in which a gateway takes, refuses and is given new targets ends with the newest, once it takes all.
#[test]
fn whatever_happened_before_the_newest_target_is_reached() {
    both(|delta| {
        for seed in 0..500_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut roll = |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % sides
            };
            let sets: [&[&str]; 4] = [&["a"], &["a", "b"], &["b", "c"], &["a", "b", "c"]];
            let mut gateway = Gw::boot(&target(sets[0], "0"), delta);
            for policy in 1..12_u64 {
                match roll(4) {
                    0 | 1 => {
                        gateway.step();
                    }
                    2 if !gateway.answers.is_empty() => {
                        let answer = gateway.answers.remove(0);
                        gateway.reply(&answer, Some("no"));
                    }
                    _ => {
                        let set = sets[roll(4) as usize];
                        gateway.feed(In::Target(target(set, &policy.to_string())));
                    }
                }
            }
            let last = target(sets[roll(4) as usize], "last");
            gateway.feed(In::Target(last.clone()));
            for _ in 0..4 {
                gateway.settle();
                gateway.now += 2 * PATIENCE_MS;
                gateway.feed(In::Tick);
            }
            assert!(gateway.accepted(&last), "seed {seed}, delta {delta}: {:?}", gateway.session);
        }
    });
}
