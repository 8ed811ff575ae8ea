//! JSON text to a marked tree. The grammar is serde_json's; this only finds out what stands where.

use serde_json::value::RawValue;

use crate::node::{Entry, Id, Kind, MAX_DEPTH, Tree, entry_path, item_path};
use crate::problem::Problem;

/// Reads a document; `Err` where it is not JSON.
pub fn read(text: &str) -> Result<Tree, Problem> {
    serde_json::from_str::<&RawValue>(text).map_err(|e| {
        let message = e.to_string();
        let what = message.split(" at line ").next().unwrap_or_default().to_owned();
        Problem::error("", format!("not JSON: {what}")).at(e.line(), e.column())
    })?;
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, tree: Tree::default() };
    reader.value(String::new(), 0, true)?;
    Ok(reader.tree)
}

/// A cursor over text that is known to be JSON.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    /// Byte at which the line begins.
    line_start: usize,
    tree: Tree,
}

impl Reader<'_> {
    /// The next byte that is neither whitespace nor a separator.
    fn peek(&mut self) -> u8 {
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'\n' => (self.line, self.line_start) = (self.line + 1, self.at + 1),
                b' ' | b'\t' | b'\r' | b',' | b':' => {}
                other => return other,
            }
            self.at += 1;
        }
        0
    }

    fn position(&self) -> (usize, usize) {
        (self.line, self.text[self.line_start..self.at].chars().count() + 1)
    }

    fn value(&mut self, path: String, depth: usize, reachable: bool) -> Result<Id, Problem> {
        let first = self.peek();
        let (line, column) = self.position();
        if depth >= MAX_DEPTH {
            return Err(Problem::error("", format!("nested deeper than {MAX_DEPTH}")).at(line, column));
        }
        if self.tree.is_full() {
            return Err(Problem::error("", "too many parts").at(line, column));
        }
        let id = match reachable {
            true => self.tree.add(path.clone(), line, column),
            false => self.tree.add_unreachable(path.clone(), line, column),
        };
        let kind = match first {
            b'{' => self.map(&path, depth)?,
            b'[' => self.list(&path, depth)?,
            b'"' => Kind::Scalar { text: self.string(), quoted: true },
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
                self.at += end;
                Kind::Scalar { text: rest[..end].to_owned(), quoted: false }
            }
        };
        self.tree.set(id, kind);
        Ok(id)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Kind, Problem> {
        self.at += 1;
        let mut items = Vec::new();
        while self.peek() != b']' {
            let id = self.value(item_path(path, items.len()), depth + 1, true)?;
            items.push(id);
        }
        self.at += 1;
        Ok(Kind::List(items))
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Kind, Problem> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        while self.peek() != b'}' {
            let (line, column) = self.position();
            let key = self.string();
            let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.line);
            let path = entry_path(path, &key);
            if let Some(first) = first {
                let problem = Problem::error(&path, format!("field `{key}` a second time"));
                let problem = problem.hint(format!("the first is at line {first}"));
                self.tree.problems.push(problem.at(line, column));
            }
            let value = self.value(path, depth + 1, first.is_none())?;
            if first.is_none() {
                entries.push(Entry { key, line, column, value });
            }
        }
        self.at += 1;
        Ok(Kind::Map(entries))
    }

    /// The string that begins here, unescaped.
    fn string(&mut self) -> String {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let token = &rest[..end.map_or(rest.len(), |end| end + 2)];
        self.at += token.len();
        serde_json::from_str(token).unwrap_or_default()
    }
}
