//! No file is an orphan, no document names a path that is gone, and nothing tells where it was written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weir_tests::harness::repo_root;

use super::workspace::{crates, read_text, tracked};

/// Folders at the top; a path in a document begins with one of them.
const TOP: [&str; 8] =
    ["filters/", "control-plane/", "envoy/", "k8s/", "tests/", "xtask/", ".ci/", ".cargo/"];

#[test]
fn every_rust_file_belongs_to_a_target() {
    let mut reached = BTreeSet::new();
    for own in crates() {
        for root in &own.roots {
            follow(root, root.parent().unwrap_or(Path::new("")), &mut reached);
        }
    }
    let orphans: Vec<PathBuf> = tracked()
        .into_iter()
        .filter(|path| path.extension() == Some("rs".as_ref()) && !reached.contains(path))
        .collect();
    assert!(orphans.is_empty(), "no mod declares {orphans:?}");
}

/// Goes through the modules that a file declares; `folder` is where they are looked for.
fn follow(file: &Path, folder: &Path, reached: &mut BTreeSet<PathBuf>) {
    if !reached.insert(file.to_path_buf()) {
        return;
    }
    let text = read_text(file);
    let mut own_path = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            own_path = Some(path.to_owned());
            continue;
        }
        let Some(name) = declared(line) else {
            if !line.starts_with("#[") {
                own_path = None;
            }
            continue;
        };
        let candidates = match own_path.take() {
            Some(path) => vec![normal(&file.parent().unwrap_or(Path::new("")).join(path))],
            None => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
        };
        for candidate in candidates.into_iter().filter(|candidate| repo_root().join(candidate).exists()) {
            let below = match candidate.file_name() == Some("mod.rs".as_ref()) {
                true => candidate.parent().unwrap_or(Path::new("")).to_path_buf(),
                false => candidate.with_extension(""),
            };
            follow(&candidate, &below, reached);
        }
    }
}

/// `mod name;` with any visibility.
fn declared(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let name = rest.strip_prefix("mod ")?.split_once(';')?.0.trim();
    name.chars().all(|letter| letter.is_alphanumeric() || letter == '_').then_some(name)
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut gone = Vec::new();
    for document in tracked().into_iter().filter(|path| path.extension() == Some("md".as_ref())) {
        let text = read_text(&document);
        let here = document.parent().unwrap_or(Path::new("")).to_path_buf();
        // `code` that looks like a path from the top, and targets of links, which are relative to the document.
        let codes =
            text.split('`').skip(1).step_by(2).filter(|code| TOP.iter().any(|top| code.starts_with(top)));
        let codes = codes.map(|code| PathBuf::from(code.split([' ', ':', '#']).next().unwrap_or_default()));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links =
            links.filter(|link| !link.contains("://") && !link.starts_with(['#', '<']) && !link.is_empty());
        let links = links.map(|link| normal(&here.join(link.split('#').next().unwrap_or_default())));
        for path in codes.chain(links) {
            let shown = path.to_string_lossy().into_owned();
            // A pattern or a placeholder is no path.
            let placeholder = shown.contains(['*', '<', '{', '…'])
                || shown
                    .split('/')
                    .any(|part| part.len() > 1 && part.chars().all(|letter| letter.is_ascii_uppercase()));
            if !placeholder && !repo_root().join(&path).exists() {
                gone.push(format!("{}: {shown}", document.display()));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn every_example_of_envoy_says_what_it_is() {
    let folders: BTreeSet<PathBuf> = tracked()
        .into_iter()
        .filter(|path| path.starts_with("envoy") && path.components().count() > 2)
        .filter_map(|path| path.parent().map(Path::to_path_buf))
        .collect();
    assert!(!folders.is_empty());
    for folder in folders {
        assert!(
            repo_root().join(&folder).join("README.md").exists(),
            "{} has no README.md",
            folder.display()
        );
    }
}

#[test]
fn no_file_tells_where_it_was_written() {
    // Put together here, so that this file does not find itself.
    let telling = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    for path in tracked().into_iter().filter(|path| path != Path::new("LICENSE")) {
        let text = read_text(&path);
        for place in &telling {
            let found = text.match_indices(place.as_str()).any(|(at, _)| {
                // A relative path may end in the same letters.
                !text[..at].ends_with(|letter: char| {
                    letter.is_alphanumeric() || letter == '.' || letter == '_' || letter == '-'
                })
            });
            assert!(!found, "{} names {place}", path.display());
        }
    }
}
