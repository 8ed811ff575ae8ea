//! The strict lints hold for every crate that a request's bytes pass through, and each exception says why.

use std::path::PathBuf;

use super::workspace::{crates, read_text, tracked};

/// What may not happen in `filters/`, as the workspace's manifest says it.
const DENIED: [&str; 9] = [
    "unwrap_used",
    "expect_used",
    "panic",
    "indexing_slicing",
    "unreachable",
    "todo",
    "unimplemented",
    "string_slice",
    "get_unwrap",
];
/// Files that may hold unsafe code: the host's calls, its callbacks, the module's memory, tables that were added to the
/// built module, the probe's entry.
const UNSAFE: [&str; 6] = [
    "filters/wasm/src/host.rs",
    "filters/wasm/src/exports.rs",
    "filters/wasm/src/memory.rs",
    "filters/wasm/src/tokenizers.rs",
    "tests/probe/src/lib.rs",
    "tests/fuzz/src/engine/coverage.rs",
];

#[test]
fn every_crate_of_the_filters_has_the_strict_lints() {
    let workspace = read_text("Cargo.toml".as_ref());
    for lint in DENIED {
        assert!(workspace.contains(&format!("{lint} = \"deny\"")), "the workspace does not deny {lint}");
    }
    for own in crates().iter().filter(|own| own.below("filters")) {
        let manifest = read_text(&own.folder.join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            own.name
        );
    }
}

#[test]
fn every_exception_in_the_filters_carries_a_sentence() {
    // Tests may panic: that is how they fail.
    let linked = |path: &PathBuf| {
        path.starts_with("filters") && !path.components().any(|part| part.as_os_str() == "tests")
    };
    for path in tracked().into_iter().filter(|path| linked(path) && path.extension() == Some("rs".as_ref())) {
        let text = read_text(&path);
        for attribute in attributes(&text) {
            let excused = DENIED.iter().any(|lint| attribute.contains(&format!("clippy::{lint}")));
            let excused = excused || attribute.contains("unsafe_code");
            assert!(
                !excused || attribute.contains("reason = \""),
                "{}: {attribute} has no reason",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    for path in tracked().into_iter().filter(|path| path.extension() == Some("rs".as_ref())) {
        let text = read_text(&path);
        let allows = attributes(&text).any(|attribute| attribute.contains("unsafe_code"));
        let known = UNSAFE.iter().any(|known| path == std::path::Path::new(known));
        assert!(!allows || known, "{} allows unsafe code", path.display());
    }
}

/// `#[allow(…)]`, `#[expect(…)]` and their inner forms, each whole.
fn attributes(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
    starts.into_iter().flat_map(move |start| {
        text.match_indices(start).map(|(at, _)| {
            let rest = text.get(at..).unwrap_or_default();
            rest.split_once(")]").map_or(rest, |(attribute, _)| attribute)
        })
    })
}
