//! The workspace as cargo sees it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use weir_tests::harness::repo_root;

/// One crate of ours.
pub struct Crate {
    pub name: String,
    /// Its folder, relative to the repository.
    pub folder: PathBuf,
    /// The first file of each target: library, binaries, tests, build script.
    pub roots: Vec<PathBuf>,
    pub dependencies: Vec<Dependency>,
}

pub struct Dependency {
    pub name: String,
    /// `None`, `dev` or `build`.
    pub kind: Option<String>,
    pub features: Vec<String>,
    pub default_features: bool,
}

impl Dependency {
    /// Linked into the crate, rather than used by its tests.
    pub fn linked(&self) -> bool {
        self.kind.as_deref() != Some("dev")
    }
}

impl Crate {
    /// Whether the crate lives below this top-level folder.
    pub fn below(&self, folder: &str) -> bool {
        self.folder.starts_with(folder)
    }
}

/// All crates of the workspace.
pub fn crates() -> &'static [Crate] {
    static CRATES: OnceLock<Vec<Crate>> = OnceLock::new();
    CRATES.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
            .current_dir(repo_root());
        let output = command.output().expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        list(&metadata["packages"]).iter().map(read).collect()
    })
}

fn read(package: &Value) -> Crate {
    let folder = path(&package["manifest_path"]).parent().map(relative).unwrap_or_default();
    let roots = list(&package["targets"]).iter().map(|target| relative(&path(&target["src_path"])));
    let dependencies = list(&package["dependencies"]).iter().map(|dependency| Dependency {
        name: text(&dependency["name"]),
        kind: dependency["kind"].as_str().map(str::to_owned),
        features: list(&dependency["features"]).iter().map(text).collect(),
        default_features: dependency["uses_default_features"] == true,
    });
    Crate {
        name: text(&package["name"]),
        folder,
        roots: roots.collect(),
        dependencies: dependencies.collect(),
    }
}

/// Files that git knows or would add, relative to the repository.
pub fn tracked() -> Vec<PathBuf> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(repo_root());
    let output = command.output().expect("git starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    // A file that was deleted and not committed yet is still listed.
    paths.filter(|path| repo_root().join(path).exists()).collect()
}

/// A file's text; empty where it is none.
pub fn read_text(path: &Path) -> String {
    std::fs::read(repo_root().join(path))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix(repo_root()).unwrap_or(path).to_path_buf()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn path(value: &Value) -> PathBuf {
    PathBuf::from(text(value))
}
