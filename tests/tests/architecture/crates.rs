//! Who may depend on whom.

use std::collections::BTreeMap;

use super::workspace::{Crate, Dependency, crates, read_text, tracked};

/// Libraries that open sockets, or exist to be run by one that does.
const SOCKETS: [&str; 12] = [
    "tokio",
    "axum",
    "hyper",
    "hyper-util",
    "reqwest",
    "socket2",
    "mio",
    "redis",
    "fred",
    "tokio-stream",
    "tower",
    "kube",
];
/// Parts of tonic that open sockets; its types alone do not.
const TONIC_SOCKETS: [&str; 4] = ["transport", "server", "channel", "router"];
/// Crates that may.
const MAY_OPEN_SOCKETS: [&str; 4] = ["weir", "weir-ledger", "weir-tests", "xtask"];
/// Crates that may name the wasm host's interface. The probe measures the host and is no part of Weir.
const MAY_NAME_THE_HOST: [&str; 2] = ["weir-wasm", "weir-probe"];

/// What each crate below `filters/` may use of the others; a stage never knows another one.
fn allowed_among_filters() -> BTreeMap<&'static str, &'static [&'static str]> {
    // A sorted map in place of the standard one, for the sake of the module's size; everybody may use it.
    const SORTED: &str = "weir-sorted";
    const ALL: &[&str] = &[
        SORTED,
        "weir-config",
        "weir-wire",
        "weir-dialects",
        "weir-tokens",
        "weir-pii",
        "weir-lease",
        "weir-pipeline",
    ];
    BTreeMap::from([
        (SORTED, &[][..]),
        ("weir-config", &[SORTED]),
        ("weir-wire", &[SORTED]),
        ("weir-tokens", &[SORTED]),
        ("weir-pii", &[SORTED]),
        ("weir-lease", &[SORTED]),
        ("weir-dialects", &[SORTED, "weir-wire"]),
        (
            "weir-pipeline",
            &[SORTED, "weir-config", "weir-wire", "weir-dialects", "weir-tokens", "weir-pii", "weir-lease"],
        ),
        ("weir-wasm", ALL),
        ("weir-playground", ALL),
    ])
}

fn opens_sockets(dependency: &Dependency) -> bool {
    if dependency.name == "tonic" {
        let transport = dependency.features.iter().any(|feature| TONIC_SOCKETS.contains(&feature.as_str()));
        return dependency.default_features || transport;
    }
    SOCKETS.contains(&dependency.name.as_str())
}

fn ours(name: &str) -> Option<&'static Crate> {
    crates().iter().find(|own| own.name == name)
}

#[test]
fn only_the_shell_names_the_wasm_host() {
    for own in crates().iter().filter(|own| !MAY_NAME_THE_HOST.contains(&own.name.as_str())) {
        let named = own.dependencies.iter().any(|dependency| dependency.name.starts_with("proxy-wasm"));
        assert!(!named, "{} names proxy-wasm", own.name);
    }
}

#[test]
fn only_the_edges_open_sockets() {
    for own in crates().iter().filter(|own| !MAY_OPEN_SOCKETS.contains(&own.name.as_str())) {
        for dependency in own.dependencies.iter().filter(|dependency| dependency.linked()) {
            assert!(!opens_sockets(dependency), "{} opens sockets by {}", own.name, dependency.name);
        }
    }
}

#[test]
fn filters_never_depend_on_the_control_plane() {
    for own in crates().iter().filter(|own| own.below("filters")) {
        for dependency in &own.dependencies {
            let control = ours(&dependency.name).is_some_and(|other| other.below("control-plane"));
            assert!(!control, "{} depends on {}", own.name, dependency.name);
        }
    }
}

#[test]
fn the_control_plane_shares_only_types_with_the_filters() {
    // The server explains requests with the same core that judges them; the rest meets it in types and bytes.
    const SHARED: [&str; 2] = ["weir-config", "weir-lease"];
    for own in crates().iter().filter(|own| own.below("control-plane") && own.name != "weir") {
        for dependency in own.dependencies.iter().filter(|dependency| dependency.linked()) {
            let filter = ours(&dependency.name).is_some_and(|other| other.below("filters"));
            assert!(
                !filter || SHARED.contains(&dependency.name.as_str()),
                "{} uses {}",
                own.name,
                dependency.name
            );
        }
    }
}

#[test]
fn leaves_do_not_know_each_other_and_stages_meet_in_the_pipeline() {
    let allowed = allowed_among_filters();
    for own in crates().iter().filter(|own| own.below("filters")) {
        let allowed =
            allowed.get(own.name.as_str()).unwrap_or_else(|| panic!("{} has no rule yet", own.name));
        for dependency in own.dependencies.iter().filter(|dependency| dependency.linked()) {
            let other = ours(&dependency.name).is_some();
            assert!(
                !other || allowed.contains(&dependency.name.as_str()),
                "{} uses {}",
                own.name,
                dependency.name
            );
        }
    }
}

#[test]
fn nothing_of_the_tests_is_shipped() {
    for own in crates().iter().filter(|own| !own.below("tests")) {
        for dependency in own.dependencies.iter().filter(|dependency| dependency.linked()) {
            let test = ours(&dependency.name).is_some_and(|other| other.below("tests"));
            assert!(!test, "{} uses {}", own.name, dependency.name);
        }
    }
}

#[test]
fn no_crate_is_empty() {
    for own in crates() {
        let files = tracked().into_iter().filter(|path| path.starts_with(&own.folder));
        let sources = files.filter(|path| path.extension() == Some("rs".as_ref()));
        let code: usize = sources
            .map(|path| {
                let text = read_text(&path);
                text.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count()
            })
            .sum();
        assert!(code > 20, "{} has {code} lines of code", own.name);
    }
}
