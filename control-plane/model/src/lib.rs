//! Policy documents: read, check, compile to what the filters and Envoy need, compare.
//!
//! Pure functions over text and types: no files, sockets, clocks or environment. Whoever calls decides where
//! a document comes from and how a secret is looked up.
//!
//! ```
//! let document = weir_model::read("apiVersion: weir.dev/v1\nprovders: []\n");
//! let problems = document.unwrap_err();
//! assert_eq!(problems[0].to_string(), "unknown field `provders` at line 2, column 1; did you mean `providers`?");
//! ```
//!
//! [`read`] gives a [`Document`]: the policy and where each of its parts stands in the text.
//! [`Document::check`] lists what is wrong with it, [`Document::unbuilt`] what this version cannot do yet,
//! and [`Document::compile`] refuses both.

mod analyzer;
mod compile;
mod de;
mod detectors;
mod diff;
mod document;
mod endpoint;
mod json;
mod node;
pub mod pattern;
pub mod prices;
mod problem;
mod unbuilt;
mod validate;
mod yaml;

pub use compile::{
    AnalyzerCluster, BudgetDef, Cluster, CompileOptions, Compiled, DEFAULT_LISTEN, LEDGER_CLUSTER,
    LedgerStore, OTLP_CLUSTER, Signing, Unit, compile,
};
pub use detectors::members as detectors_of;
pub use diff::{Change, diff};
pub use document::{Document, parse, read};
pub use problem::{Problem, Severity};
pub use unbuilt::{Missing, UNBUILT, Unbuilt, Where, unbuilt};
pub use validate::{DEFAULT_OUTPUT_CEILING, MAX_LIMIT, TOKENIZERS, validate};

/// Stands for the tenant's name where a policy names its labels (`request_metadata`).
const TENANT: &str = "tenant";

/// JSON Schema (2020-12) of the policy file.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(weir_config::policy::Policy).to_value();
    schema["title"] = "Weir policy".into();
    schema
}
