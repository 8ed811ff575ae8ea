//! OpenAI's embeddings, so far that they pass through: facts of the request, its texts, the usage of the answer. Nobody
//! who speaks another dialect has them. A request has the shape of a text completion without an answer.

use std::borrow::Cow;

use weir_wire::json::{Doc, Kind, Value};

use crate::hub::Invalid;
use crate::openai_chat::fields;
use crate::openai_completions::{self, Request};

/// Reads the facts. What is embedded stands in the place of the prompt.
pub fn read<'d, 'a>(doc: &'d Doc<'a>) -> Result<Request<'d, 'a>, Invalid> {
    let root = doc.root();
    if let Some(dimensions) = root.get("dimensions") {
        fields::count(dimensions, "dimensions")?;
    }
    openai_completions::read_of(doc, "input")
}

/// The token ids of what is embedded, list by list; none where it is text, or where one is no id.
pub fn token_lists(input: Value<'_, '_>) -> Option<Vec<Vec<u32>>> {
    if input.items().next().is_some_and(|first| first.as_u64().is_some()) {
        return Some(vec![ids(input)?]);
    }
    let mut all = Vec::new();
    for list in input.items() {
        all.push(ids(list)?);
    }
    Some(all)
}

fn ids(list: Value<'_, '_>) -> Option<Vec<u32>> {
    if list.kind() != Kind::Array {
        return None;
    }
    let mut all = Vec::new();
    for id in list.items() {
        all.push(u32::try_from(id.as_u64()?).ok()?);
    }
    Some(all)
}

/// An answer without what its arrays hold, in any pieces: that is nearly all of it, and nothing in it is read here.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// The bytes that are left.
    pub text: Vec<u8>,
    arrays: u32,
    string: bool,
    escape: bool,
}

/// Bytes of an outline beyond which nothing is kept.
const MOST: usize = 64 << 10;

impl Outline {
    /// Takes a piece.
    pub fn push(&mut self, chunk: &[u8]) {
        for byte in chunk {
            let outside = self.arrays == 0;
            if self.string {
                self.string = self.escape || *byte != b'"';
                self.escape = !self.escape && *byte == b'\\';
            } else {
                match byte {
                    b'"' => self.string = true,
                    b'[' => self.arrays = self.arrays.saturating_add(1),
                    b']' => self.arrays = self.arrays.saturating_sub(1),
                    _ => {}
                }
            }
            if (outside || self.arrays == 0) && self.text.len() < MOST {
                self.text.push(*byte);
            }
        }
    }
}

/// `encoding_format` and `dimensions`, for the span.
pub fn form<'a>(doc: &Doc<'a>) -> (Option<Cow<'a, str>>, Option<u64>) {
    let root = doc.root();
    (root.get("encoding_format").and_then(Value::as_str), root.get("dimensions").and_then(Value::as_u64))
}

#[cfg(test)]
mod tests {
    use weir_wire::json::{Limits, parse};

    use super::*;
    use crate::openai_completions::Prompt;

    #[test]
    fn every_form_of_input_is_told() {
        for (input, form, lists) in [
            (r#""a b""#, Prompt::Text, None),
            (r#"["a","b c"]"#, Prompt::Texts(2), None),
            ("[1,2,3]", Prompt::Tokens(3), Some(vec![vec![1, 2, 3]])),
            ("[[1,2],[3]]", Prompt::TokenLists(2, 3), Some(vec![vec![1, 2], vec![3]])),
            ("[-1]", Prompt::Tokens(1), None),
            ("[[1.5]]", Prompt::TokenLists(1, 1), None),
        ] {
            let body = format!(r#"{{"model":"m","input":{input},"encoding_format":"base64"}}"#);
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            let request = read(&doc).unwrap();
            assert_eq!((request.form, request.stream, request.ceiling()), (form, false, None));
            assert_eq!(token_lists(request.prompt).filter(|lists| !lists.is_empty()), lists, "{input}");
            let mut seen = 0;
            openai_completions::texts(&doc, &mut |_| seen += 1);
            assert_eq!(seen, if form.tokens().is_some() { 0 } else { form.count() });
        }
        for input in ["null", "{}", "[]", "[1,\"a\"]", "7"] {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            let doc = parse(body.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(read(&doc).unwrap_err().param, "input", "{input}");
        }
    }

    #[test]
    fn an_outline_is_the_answer_without_its_numbers_at_every_cut() {
        let body = br#"{"object":"list","data":[{"embedding":[0.1,-2e3],"odd":"]\"["},{"embedding":"QUJD"}],"model":"a\"[b]","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        for at in 0..=body.len() {
            let mut outline = Outline::default();
            outline.push(&body[..at]);
            outline.push(&body[at..]);
            let expected = r#"{"object":"list","data":[],"model":"a\"[b]","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
            assert_eq!(String::from_utf8_lossy(&outline.text), expected, "cut at {at}");
        }
    }
}
