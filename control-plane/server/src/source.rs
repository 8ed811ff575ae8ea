//! The policy file: read, judged, compiled, watched; and the last good one, kept for a control plane that starts
//! while the file is broken.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_config::policy::Secret;
use weir_model::{CompileOptions, Compiled, Problem, Unbuilt};

use crate::Failure;

/// A policy that can run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As written.
    pub text: String,
    /// What runs.
    pub compiled: Compiled,
    /// What will probably disappoint.
    pub warnings: Vec<Problem>,
}

/// Why a policy cannot run.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The file cannot be read.
    Unreadable(String),
    /// It is not a valid policy.
    Invalid(Vec<Problem>),
    /// It asks for what this version cannot do.
    Unbuilt(Vec<Unbuilt>),
}

impl Refused {
    /// One line per problem.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable(why) => vec![why.clone()],
            Self::Invalid(problems) => problems.iter().map(Problem::to_string).collect(),
            Self::Unbuilt(fields) => fields.iter().map(unbuilt_line).collect(),
        }
    }

    /// As the command line says it.
    pub fn failure(&self, file: &Path) -> Failure {
        let (code, what) = match self {
            Self::Unreadable(_) => (1, "cannot be read"),
            Self::Invalid(_) => (2, "is not a valid policy"),
            Self::Unbuilt(_) => (3, "asks for what this version cannot do"),
        };
        let message = format!("{} {what}:\n  {}", file.display(), self.lines().join("\n  "));
        Failure { code, message }
    }
}

/// `FIELD (ORGAN) at line 3, column 5`.
pub fn unbuilt_line(field: &Unbuilt) -> String {
    let at = match field.line {
        0 => String::new(),
        line => format!(" at line {line}, column {}", field.column),
    };
    format!("{field} ({}) is not built yet{at}", field.organ)
}

/// Judges and compiles a text for filters that have these tokenizers.
pub fn load(
    text: &str,
    version: &str,
    listen: Option<SocketAddr>,
    tokenizers: &[String],
) -> Result<Loaded, Refused> {
    let document = weir_model::read(text).map_err(Refused::Invalid)?.for_tokenizers(tokenizers);
    let (errors, warnings): (Vec<Problem>, Vec<Problem>) =
        document.check().into_iter().partition(Problem::is_error);
    // Whether a listener beyond loopback is in order depends on who decided its address: compile judges that.
    if !errors.is_empty() && listen.is_none() {
        return Err(Refused::Invalid(errors));
    }
    let unbuilt = document.unbuilt();
    if !unbuilt.is_empty() {
        return Err(Refused::Unbuilt(unbuilt));
    }
    let options = CompileOptions { version, resolve: &secret, listen };
    let compiled = document.compile(&options).map_err(Refused::Invalid)?;
    Ok(Loaded { text: text.to_owned(), compiled, warnings })
}

/// Looks a secret up on this machine.
fn secret(of: &Secret) -> Result<String, String> {
    match of {
        Secret::Env(name) => {
            std::env::var(name).map_err(|_| format!("environment variable `{name}` is not set"))
        }
        Secret::File(path) => {
            std::fs::read_to_string(path).map_err(|why| format!("secret file `{path}`: {why}"))
        }
        Secret::Secret(name) => {
            Err(format!("Kubernetes secret `{name}`: mount it as a file and name that (`file: PATH`)"))
        }
    }
}

/// The policy file and its history.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    kept: PathBuf,
    listen: Option<SocketAddr>,
    seen: Option<Vec<u8>>,
    generation: u64,
    /// The text of that generation.
    last: String,
    /// What the filters can count by.
    tokenizers: Vec<String>,
}

/// What is written down after each good policy.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    file: PathBuf,
    generation: u64,
    text: String,
}

impl Source {
    /// The policy in `file`; what has to be remembered is kept in the folder `data`.
    pub fn new(file: &Path, data: &Path, listen: Option<SocketAddr>) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self {
            file,
            kept: data.join("last-good.json"),
            listen,
            seen: None,
            generation: 0,
            last: String::new(),
            tokenizers: weir_model::TOKENIZERS.map(str::to_owned).into(),
        }
    }

    /// From now on policies are judged for filters that have these tokenizers; the file is looked at again.
    pub fn set_tokenizers(&mut self, tokenizers: &[String]) {
        if self.tokenizers != tokenizers {
            self.tokenizers = tokenizers.to_vec();
            self.seen = None;
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The last good policy of this very file, from an earlier life.
    pub fn last_good(&mut self) -> Option<Loaded> {
        let kept: Kept = serde_json::from_slice(&std::fs::read(&self.kept).ok()?).ok()?;
        self.generation = kept.generation;
        self.last.clone_from(&kept.text);
        if kept.file != self.file {
            return None;
        }
        load(&kept.text, &version(kept.generation, &kept.text), self.listen, &self.tokenizers).ok()
    }

    /// Reads the file if it differs from what was read last. Its content is compared: a file that is replaced,
    /// a link that is turned (as Kubernetes does with config maps) or a clock that stands still all look alike.
    pub fn poll(&mut self) -> Option<Result<Loaded, Refused>> {
        let bytes = match std::fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(why) => {
                let why = format!("{}: {why}", self.file.display());
                let news = self.seen.as_deref() != Some(why.as_bytes());
                self.seen = Some(why.clone().into_bytes());
                return news.then_some(Err(Refused::Unreadable(why)));
            }
        };
        if self.seen.as_ref() == Some(&bytes) {
            return None;
        }
        self.seen = Some(bytes.clone());
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => return Some(Err(Refused::Unreadable("the policy is not UTF-8".to_owned()))),
        };
        let generation = if text == self.last { self.generation } else { self.generation + 1 };
        let version = version(generation, &text);
        Some(load(&text, &version, self.listen, &self.tokenizers))
    }

    /// Notes that a policy is in use from now on.
    pub fn keep(&mut self, loaded: &Loaded) {
        if self.last == loaded.text {
            return;
        }
        self.generation += 1;
        self.last.clone_from(&loaded.text);
        let kept = Kept { file: self.file.clone(), generation: self.generation, text: loaded.text.clone() };
        let part = self.kept.with_extension("part");
        let written = serde_json::to_vec(&kept)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&part, bytes))
            .and_then(|()| std::fs::rename(&part, &self.kept));
        if let Err(why) = written {
            tracing::warn!(%why, "the last good policy could not be kept");
        }
    }
}

/// `7-3fa9c102`: counts up for people, and tells texts apart for machines.
fn version(generation: u64, text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{generation}-{hash}")
}
