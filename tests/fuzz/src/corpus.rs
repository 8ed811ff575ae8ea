//! Inputs on disk: one file a target, one input a line, printable ASCII as it is and other bytes escaped (`\n`, `\\`,
//! `\xff`), so that a reviewer reads what is tried. Empty lines and lines with `# ` in front say something.

use std::path::PathBuf;

/// Where a target's inputs are.
pub fn path(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.txt"))
}

/// The inputs of a target; none where it has no file.
pub fn read(target: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path(target)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(|line| unescape(line.as_bytes())).collect()
}

/// Writes inputs as [`read`] reads them.
pub fn write(target: &str, about: &str, inputs: &[Vec<u8>]) -> std::io::Result<()> {
    let mut text = format!("# {about}\n");
    for input in inputs {
        text.push_str(&escape(input));
        text.push('\n');
    }
    std::fs::write(path(target), text)
}

/// An input as a line.
pub fn escape(bytes: &[u8]) -> String {
    let line = bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'");
    // Neither a comment nor nothing.
    match line.strip_prefix('#') {
        Some(rest) => format!("\\x23{rest}"),
        None if line.is_empty() => "\\".to_owned(),
        None => line,
    }
}

/// The input in a line.
pub fn unescape(line: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(line.len()), line);
    loop {
        rest = match rest {
            [] | [b'\\'] => return out,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(high) << 4 | digit(low));
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest
            }
            [plain, rest @ ..] => {
                out.push(*plain);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_from_their_line() {
        let every: Vec<u8> = (0..=255).chain(*b"\\x41 # \\\\ '\"").collect();
        for input in [&every[..], b"", b"#", b"# no comment", b"\\", b"\\n", b"\n"] {
            let line = escape(input);
            assert!(!line.contains('\n') && !line.is_empty() && !line.starts_with("# "), "{line}");
            assert_eq!(unescape(line.as_bytes()), input, "{line}");
        }
    }
}
