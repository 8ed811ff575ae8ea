//! The policy file: read, judged, compiled, watched; and the last good one, kept for a control plane that starts
//! while the file is broken.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_config::policy::Secret;
use weir_model::{CompileOptions, Compiled, Problem, Unbuilt};

use crate::Failure;
use crate::fleet::unix_ms;

/// A policy that can run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As written.
    pub text: String,
    /// The table of prices that it names, as written.
    pub prices: Option<String>,
    /// The name of that file in the policy.
    pub prices_file: Option<String>,
    /// When prices change next by their dates, in seconds since 1970.
    pub next_price: Option<u64>,
    /// All that it consists of.
    whole: String,
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
    /// The table of prices that it names is not valid.
    Prices(Vec<Problem>),
    /// It asks for what this version cannot do.
    Unbuilt(Vec<Unbuilt>),
}

impl Refused {
    /// One line per problem.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable(why) => vec![why.clone()],
            Self::Invalid(problems) => problems.iter().map(Problem::to_string).collect(),
            Self::Prices(problems) => problems.iter().map(|why| format!("table of prices: {why}")).collect(),
            Self::Unbuilt(fields) => fields.iter().map(unbuilt_line).collect(),
        }
    }

    /// As the command line says it.
    pub fn failure(&self, file: &Path) -> Failure {
        let (code, what) = match self {
            Self::Unreadable(_) => (1, "cannot be read"),
            Self::Invalid(_) | Self::Prices(_) => (2, "is not a valid policy"),
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

/// What a policy is judged with.
pub struct Around<'a> {
    /// Where gateways listen, in place of what the policy says.
    pub listen: Option<SocketAddr>,
    /// What the filters can count by.
    pub tokenizers: &'a [String],
    /// Reads the table of prices that it names.
    pub table: &'a dyn Fn(&str) -> Result<String, String>,
    /// Seconds since 1970: which prices hold.
    pub now: u64,
}

/// The table of prices beside a policy file.
pub fn beside(policy: &Path, name: &str) -> Result<String, String> {
    let path = policy.parent().unwrap_or(Path::new("")).join(name);
    std::fs::read_to_string(&path).map_err(|why| format!("table of prices {}: {why}", path.display()))
}

/// Judges and compiles a policy file's text, as command lines do.
pub fn load(
    file: &Path,
    text: &str,
    version: &str,
    listen: Option<SocketAddr>,
    tokenizers: &[String],
) -> Result<Loaded, Refused> {
    let table = |name: &str| beside(file, name);
    judge(text, &|_| version.to_owned(), &Around { listen, tokenizers, table: &table, now: unix_ms() / 1000 })
}

/// Judges and compiles a text. `version` is told all that the policy consists of.
fn judge(text: &str, version: &dyn Fn(&str) -> String, around: &Around<'_>) -> Result<Loaded, Refused> {
    let Around { listen, tokenizers, .. } = *around;
    let document = weir_model::read(text).map_err(Refused::Invalid)?.for_tokenizers(tokenizers);
    let prices_file = document.policy.prices.clone();
    let prices = match &prices_file {
        Some(name) => Some((around.table)(name).map_err(Refused::Unreadable)?),
        None => None,
    };
    let table = match &prices {
        Some(text) => Some(weir_model::prices::read(text).map_err(Refused::Prices)?),
        None => None,
    };
    let (document, next_price) = document.priced(table.as_ref(), around.now);
    let mut whole = text.to_owned();
    if let Some(prices) = &prices {
        whole.push_str(prices);
    }
    if let Some(next) = next_price {
        // On that day it is another policy.
        whole.push_str(&next.to_string());
    }
    let version = version(&whole);
    let version = version.as_str();
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
    Ok(Loaded { text: text.to_owned(), prices, prices_file, next_price, whole, compiled, warnings })
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
    /// All that the policy of that generation consists of.
    last: String,
    /// The table of prices that the file named when it was last good, what was read of it, and when it changes by date.
    table: Option<(String, Option<String>)>,
    next_price: Option<u64>,
    /// What the filters can count by.
    tokenizers: Vec<String>,
}

/// What is written down after each good policy.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    file: PathBuf,
    generation: u64,
    text: String,
    #[serde(default)]
    prices: Option<String>,
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
            table: None,
            next_price: None,
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
        let table = |_: &str| kept.prices.clone().ok_or_else(|| "no table was kept".to_owned());
        let named = |whole: &str| version(kept.generation, whole);
        let loaded = judge(&kept.text, &named, &self.around(&table)).ok()?;
        self.last.clone_from(&loaded.whole);
        (kept.file == self.file).then_some(loaded)
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
        let table = self.table.as_ref().map(|(name, _)| (name.clone(), beside(&self.file, name).ok()));
        let due = self.next_price.is_some_and(|at| unix_ms() / 1000 >= at);
        if self.seen.as_ref() == Some(&bytes) && table == self.table && !due {
            return None;
        }
        self.seen = Some(bytes.clone());
        (self.table, self.next_price) = (table, None);
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => return Some(Err(Refused::Unreadable("the policy is not UTF-8".to_owned()))),
        };
        let named = |whole: &str| {
            version(if whole == self.last { self.generation } else { self.generation + 1 }, whole)
        };
        let read = |name: &str| beside(&self.file, name);
        let loaded = judge(&text, &named, &self.around(&read));
        // A table that is missing or wrong is looked for again.
        let name = match &loaded {
            Ok(loaded) => loaded.prices_file.clone(),
            Err(_) => weir_model::parse(&text).ok().and_then(|policy| policy.prices),
        };
        self.table = name.map(|name| {
            let read = beside(&self.file, &name).ok();
            (name, read)
        });
        self.next_price = loaded.as_ref().ok().and_then(|loaded| loaded.next_price);
        Some(loaded)
    }

    fn around<'a>(&'a self, table: &'a dyn Fn(&str) -> Result<String, String>) -> Around<'a> {
        Around { listen: self.listen, tokenizers: &self.tokenizers, table, now: unix_ms() / 1000 }
    }

    /// Notes that a policy is in use from now on.
    pub fn keep(&mut self, loaded: &Loaded) {
        if self.last == loaded.whole {
            return;
        }
        self.generation += 1;
        self.last.clone_from(&loaded.whole);
        let kept = Kept {
            file: self.file.clone(),
            generation: self.generation,
            text: loaded.text.clone(),
            prices: loaded.prices.clone(),
        };
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
