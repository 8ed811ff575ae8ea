//! YAML text to a marked tree. Anchors and aliases work, within the bound on nodes; tags, several documents
//! and keys that are no scalars are refused, and so are duplicate keys.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::node::{Entry, Id, Kind, MAX_DEPTH, Tree, entry_path, item_path};
use crate::problem::Problem;

/// Reads a document; `Err` where its form is so broken that no tree can be made.
pub fn read(text: &str) -> Result<Tree, Problem> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|e| {
            Problem::error("", format!("not YAML: {}", e.info())).at(e.marker().line(), e.marker().col() + 1)
        })?;
        builder.step(event, span).map_err(|e| e.at(span.start.line(), span.start.col() + 1))?;
    }
    match builder.has_root {
        true => Ok(builder.tree),
        false => Err(Problem::error("", "the policy is empty").hint("begin with `apiVersion: weir.dev/v1`")),
    }
}

#[derive(Default)]
struct Builder {
    tree: Tree,
    /// Collections whose end has not come yet, outermost first.
    open: Vec<Open>,
    /// What each anchor names.
    anchors: BTreeMap<usize, Id>,
    has_root: bool,
}

struct Open {
    id: Id,
    kind: Kind,
    /// The key that waits for its value, and where it begins.
    key: Option<(String, usize, usize)>,
}

impl Builder {
    fn step(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) if self.has_root => {
                return Err(Problem::error("", "a second document").hint("a policy is one document"));
            }
            Event::DocumentStart(_) => {}
            Event::Scalar(text, style, anchor, tag) => {
                let string = text_tag(tag.as_deref())?;
                if self.waits_for_key() {
                    return self.key(text.into_owned(), line, column);
                }
                let id = self.value(line, column)?;
                let quoted = string || style != ScalarStyle::Plain;
                self.tree.set(id, Kind::Scalar { text: text.into_owned(), quoted });
                self.anchors.insert(anchor, id);
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Kind::List(Vec::new()), anchor, tag.as_deref(), line, column)?
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Kind::Map(Vec::new()), anchor, tag.as_deref(), line, column)?
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.tree.set(open.id, open.kind);
                }
            }
            Event::Alias(anchor) => {
                let named = self.anchors.get(&anchor).copied();
                let named = named.filter(|named| self.open.iter().all(|open| open.id != *named));
                let named = named.ok_or_else(|| Problem::error("", "an alias of what is not finished"))?;
                let id = self.value(line, column)?;
                self.copy(named, id, self.open.len())?;
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        kind: Kind,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
        column: usize,
    ) -> Result<(), Problem> {
        if text_tag(tag)? {
            return Err(Problem::error("", "a collection tagged as text"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::error("", format!("nested deeper than {MAX_DEPTH}")));
        }
        let id = self.value(line, column)?;
        self.anchors.insert(anchor, id);
        self.open.push(Open { id, kind, key: None });
        Ok(())
    }

    fn waits_for_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: Kind::Map(_), key: None, .. }))
    }

    fn key(&mut self, key: String, line: usize, column: usize) -> Result<(), Problem> {
        let open = self.open.last_mut().filter(|open| matches!(open.kind, Kind::Map(_)));
        if let Some(open) = open {
            open.key = Some((key, line, column));
        }
        Ok(())
    }

    /// A new node, entered into the collection that is open.
    fn value(&mut self, line: usize, column: usize) -> Result<Id, Problem> {
        if self.tree.is_full() {
            return Err(Problem::error("", "too many parts").hint("aliases count as often as they are used"));
        }
        if self.waits_for_key() {
            return Err(Problem::error("", "a key that is not plain text"));
        }
        let Some(open) = self.open.last_mut() else {
            self.has_root = true;
            return Ok(self.tree.add(String::new(), line, column));
        };
        let parent = &self.tree.get(open.id).path;
        match &mut open.kind {
            Kind::List(items) => {
                let path = item_path(parent, items.len());
                let id = self.tree.add(path, line, column);
                items.push(id);
                Ok(id)
            }
            Kind::Map(entries) => {
                let (key, key_line, key_column) = open.key.take().unwrap_or_default();
                let path = entry_path(parent, &key);
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let problem = Problem::error(&path, format!("field `{key}` a second time"));
                    let problem = problem.hint(format!("the first is at line {}", first.line));
                    self.tree.problems.push(problem.at(key_line, key_column));
                    // Read to its end, and reachable from nowhere.
                    return Ok(self.tree.add_unreachable(path, line, column));
                }
                let value = self.tree.add(path, line, column);
                entries.push(Entry { key, line: key_line, column: key_column, value });
                Ok(value)
            }
            Kind::Scalar { .. } => Err(Problem::error("", "a value inside a scalar")),
        }
    }

    /// Makes node `to` a copy of all that is under node `from`.
    fn copy(&mut self, from: Id, to: Id, depth: usize) -> Result<(), Problem> {
        if depth >= MAX_DEPTH || self.tree.is_full() {
            return Err(Problem::error("", "too many parts").hint("aliases count as often as they are used"));
        }
        let parent = self.tree.get(to).path.clone();
        let kind = match self.tree.get(from).kind.clone() {
            scalar @ Kind::Scalar { .. } => scalar,
            Kind::List(items) => {
                let mut copies = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    copies.push(self.copy_child(item, item_path(&parent, index), depth)?);
                }
                Kind::List(copies)
            }
            Kind::Map(entries) => {
                let mut copies = Vec::new();
                for entry in entries {
                    let value = self.copy_child(entry.value, entry_path(&parent, &entry.key), depth)?;
                    copies.push(Entry { value, ..entry });
                }
                Kind::Map(copies)
            }
        };
        self.tree.set(to, kind);
        Ok(())
    }

    fn copy_child(&mut self, from: Id, path: String, depth: usize) -> Result<Id, Problem> {
        let (line, column) = (self.tree.get(from).line, self.tree.get(from).column);
        let id = self.tree.add(path, line, column);
        self.copy(from, id, depth + 1)?;
        Ok(id)
    }
}

/// Whether a tag says that its value is text. Other tags would mean what no policy means.
fn text_tag(tag: Option<&Tag>) -> Result<bool, Problem> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) if tag.is_yaml_core_schema() && matches!(tag.suffix.as_str(), "map" | "seq") => Ok(false),
        Some(tag) => Err(Problem::error("", format!("tag `!{}` is not known here", tag.suffix))),
    }
}
