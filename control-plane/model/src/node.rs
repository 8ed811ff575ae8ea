//! A parsed document as a tree of marked nodes: what stands where. Not what it means.

use std::collections::BTreeMap;

use crate::problem::Problem;

/// Most nodes that a document may have, aliases counted as often as they are used.
pub const MAX_NODES: usize = 200_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;

/// Index of a node in its [`Tree`].
pub type Id = usize;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    /// Line from 1.
    pub line: usize,
    /// Column in characters from 1.
    pub column: usize,
    /// `providers[0].name`
    pub path: String,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// `quoted` text is text, whatever it looks like.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Id>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    /// Where the key begins.
    pub line: usize,
    pub column: usize,
    pub value: Id,
}

/// What a scalar without quotes means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain<'t> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'t str),
}

/// A document.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    by_path: BTreeMap<String, Id>,
    /// What was wrong with the form of the document, though it could be read.
    pub problems: Vec<Problem>,
}

impl Tree {
    pub const ROOT: Id = 0;

    pub fn get(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// Adds a node of which the kind is not known yet.
    pub fn add(&mut self, path: String, line: usize, column: usize) -> Id {
        self.by_path.insert(path.clone(), self.nodes.len());
        self.add_unreachable(path, line, column)
    }

    /// Adds a node that no path leads to.
    pub fn add_unreachable(&mut self, path: String, line: usize, column: usize) -> Id {
        let id = self.nodes.len();
        let kind = Kind::Scalar { text: String::new(), quoted: false };
        self.nodes.push(Node { kind, line, column, path });
        id
    }

    pub fn set(&mut self, id: Id, kind: Kind) {
        self.nodes[id].kind = kind;
    }

    pub fn is_full(&self) -> bool {
        self.nodes.len() >= MAX_NODES
    }

    /// The position of the part at `path`, or of the nearest part around it.
    pub fn locate(&self, path: &str) -> Option<(usize, usize)> {
        let mut path = path;
        loop {
            if let Some(id) = self.by_path.get(path) {
                return Some((self.nodes[*id].line, self.nodes[*id].column));
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// The path of a map's entry.
pub fn entry_path(parent: &str, key: &str) -> String {
    let simple = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-/".contains(c));
    match (parent, simple) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{parent}.{key}"),
        (_, false) => format!("{parent}[{key:?}]"),
    }
}

/// The path of a list's item.
pub fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The meaning of a scalar without quotes, by the core schema of YAML 1.2 (JSON's is a part of it).
pub fn plain(text: &str) -> Plain<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Plain::Text(text);
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let signed = || text.parse().map(Plain::Signed);
        return text.parse().map(Plain::Unsigned).or_else(|_| signed()).unwrap_or_else(|_| float(text));
    }
    let number = |b: u8| b.is_ascii_digit() || b".eE+-".contains(&b);
    if unsigned.bytes().all(number) { float(text) } else { Plain::Text(text) }
}

fn float(text: &str) -> Plain<'_> {
    text.parse().map_or(Plain::Text(text), Plain::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let table = [
            ("", Plain::Null),
            ("null", Plain::Null),
            ("true", Plain::Bool(true)),
            ("no", Plain::Text("no")),
            ("429", Plain::Unsigned(429)),
            ("-3", Plain::Signed(-3)),
            ("0.03", Plain::Float(0.03)),
            ("1e3", Plain::Float(1000.0)),
            ("5xx", Plain::Text("5xx")),
            ("2M", Plain::Text("2M")),
            ("2099-01-01", Plain::Text("2099-01-01")),
            ("127.0.0.1", Plain::Text("127.0.0.1")),
            ("inf", Plain::Text("inf")),
            (".", Plain::Text(".")),
        ];
        for (text, meaning) in table {
            assert_eq!(plain(text), meaning, "{text}");
        }
    }
}
