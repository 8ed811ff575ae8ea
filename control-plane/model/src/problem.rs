//! What can be wrong with a policy document, and how it is said.

use std::fmt;

use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// The policy can be used and will probably disappoint.
    Warning,
}

/// One thing wrong with a policy document.
///
/// Prints as `MESSAGE at line 12, column 3; HINT`, or `MESSAGE at PATH; HINT` where no text is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The part it is about: `models[0].targets[1].price`; empty is the whole document.
    pub path: String,
    /// Line from 1; 0 where no text is known.
    pub line: usize,
    /// Column in characters from 1; 0 where no text is known.
    pub column: usize,
    /// What is wrong, naming the value.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(severity: Severity, path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { severity, path: path.into(), line: 0, column: 0, message: message.into(), hint: None }
    }

    pub(crate) fn error(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem::new(Severity::Error, path, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The nearest known name, or all of them where they are few.
    pub(crate) fn hint_near(mut self, name: &str, known: &[&str]) -> Problem {
        let few = || (1..=6).contains(&known.len()).then(|| format!("known: `{}`", known.join("`, `")));
        self.hint = nearest(name, known).map(|near| format!("did you mean `{near}`?")).or_else(few);
        self
    }

    pub(crate) fn at(mut self, line: usize, column: usize) -> Problem {
        (self.line, self.column) = (line, column);
        self
    }

    /// Whether it keeps the policy from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.line, self.path.as_str()) {
            (0, "") => {}
            (0, path) => write!(f, " at {path}")?,
            (line, _) => write!(f, " at line {line}, column {}", self.column)?,
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Problem {}

/// Bytes of a name that may be like another; what is longer is no slip of the hand, and comparing takes the product of
/// two lengths.
const LONGEST: usize = 128;

/// The known name that is most like `name`, if one is like it at all.
pub(crate) fn nearest(name: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    if name.len() > LONGEST {
        return None;
    }
    let far = 1 + name.chars().count() / 3;
    let near = known.into_iter().filter(|known| known.as_ref().len() <= 2 * LONGEST).map(|known| {
        // The beginning of a name is like it, however much is left out.
        let begins = name.len() > 2 && known.as_ref().starts_with(name);
        let distance = if begins { far } else { distance(name, known.as_ref()) };
        (distance, known.as_ref().to_owned())
    });
    near.filter(|(d, _)| *d <= far).min().map(|(_, known)| known)
}

/// Edits (insert, delete, replace, swap of neighbours) from one word to the other, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let lower = |s: &str| s.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (lower(a), lower(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_neighbours_is_one_edit() {
        assert_eq!(distance("modle", "model"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Kind", "kind"), 0);
    }

    #[test]
    fn what_is_like_nothing_known_has_no_nearest() {
        assert_eq!(nearest("xyzzy", ["model", "name"]), None);
        assert_eq!(nearest("nmae", ["model", "name"]).as_deref(), Some("name"));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(nearest(&long, [&long, "x"]), None);
        assert_eq!(nearest("name", [&long.repeat(2), "name"]).as_deref(), Some("name"));
        let long = "UT1 ".repeat(1 << 20);
        assert_eq!(nearest(&long, ["UTC"; 600]), None, "in time");
    }
}
