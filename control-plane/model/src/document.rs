//! A policy together with the text that it was written in.

use weir_config::policy::{Policy, PriceTable};

use crate::compile::{CompileOptions, Compiled};
use crate::node::Tree;
use crate::problem::Problem;
use crate::unbuilt::Unbuilt;
use crate::{compile, de, json, prices, unbuilt, validate, yaml};

/// Longest text of a policy, in bytes.
const MAX_TEXT: usize = 4 << 20;

/// A policy, and where each of its parts stands in its text.
#[derive(Clone, Debug)]
pub struct Document {
    /// The policy.
    pub policy: Policy,
    tree: Tree,
    tokenizers: Vec<String>,
}

/// Reads YAML, or JSON where the text begins with `{` and is JSON. All problems are told at once, in the
/// order of the text.
pub fn read(text: &str) -> Result<Document, Vec<Problem>> {
    if text.len() > MAX_TEXT {
        return Err(vec![Problem::error("", format!("the policy is longer than {MAX_TEXT} bytes"))]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A map in YAML's flow style begins like JSON; what it says when it is neither is YAML's to tell.
    let json = text.trim_start().starts_with('{').then(|| json::read(text));
    let tree = match json {
        Some(Ok(tree)) => tree,
        Some(Err(problem)) => yaml::read(text).map_err(|_| vec![problem])?,
        None => yaml::read(text).map_err(|problem| vec![problem])?,
    };
    let tokenizers = validate::TOKENIZERS.map(str::to_owned).into();
    de::read(&tree).map(|policy| Document { policy, tree, tokenizers })
}

/// As [`read`], for those who need no positions afterwards.
pub fn parse(text: &str) -> Result<Policy, Vec<Problem>> {
    read(text).map(|document| document.policy)
}

impl Document {
    /// The same document for a module that has these tokenizers, in place of those that are built in by default.
    pub fn for_tokenizers(self, tokenizers: &[String]) -> Document {
        Document { tokenizers: tokenizers.to_vec(), ..self }
    }

    /// The same document with the prices that hold at `now` (seconds since 1970), a table's before the policy's own;
    /// and when they change next.
    pub fn priced(mut self, table: Option<&PriceTable>, now: u64) -> (Document, Option<u64>) {
        let next = prices::settle(&mut self.policy, table, now);
        (self, next)
    }

    /// What is wrong with the policy, errors and warnings, in the order of the text.
    pub fn check(&self) -> Vec<Problem> {
        self.locate(validate::validate_for(&self.policy, None, &self.tokenizers))
    }

    /// What the policy asks for and this version cannot do, in the order of the text.
    pub fn unbuilt(&self) -> Vec<Unbuilt> {
        let mut fields = unbuilt::unbuilt(&self.policy);
        for field in &mut fields {
            (field.line, field.column) = self.tree.locate(&field.at).unwrap_or_default();
        }
        fields.sort_by_key(|field| (field.line, field.column));
        fields
    }

    /// As [`compile`](crate::compile()), with positions in the problems.
    pub fn compile(&self, options: &CompileOptions<'_>) -> Result<Compiled, Vec<Problem>> {
        compile::compile_for(&self.policy, options, &self.tokenizers)
            .map_err(|problems| self.locate(problems))
    }

    fn locate(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        for problem in &mut problems {
            (problem.line, problem.column) = self.tree.locate(&problem.path).unwrap_or_default();
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }
}
