//! `tokenizer.json` of Hugging Face's tokenizers library: byte-level byte-pair encoding behind one of the splits that
//! this crate has a scanner for.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value indexed by a name it lacks is null; this never runs in the module"
)]

use std::collections::HashMap;

use serde_json::Value;

use super::Error;
use crate::split::Rules;
use crate::vocabulary::{TOKEN_BITS, Vocabulary};

/// The split patterns as the files write them, and the scanner that cuts as each does.
const PATTERNS: [(&str, Rules); 5] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Rules::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Rules::Gpt2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Rules::Llama3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Rules::Qwen2,
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Rules::O200k,
    ),
];

/// The longest token that stands among the words: the tables keep its length in a byte.
const LONGEST: usize = 255;

/// What such a file says.
pub fn read(json: &str) -> Result<(Rules, Vocabulary), Error> {
    let file: Value = serde_json::from_str(json).map_err(|why| Error::Format(why.to_string()))?;
    if !file.is_object() || !file["model"].is_object() {
        return Err(Error::Format("it has no `model`".to_owned()));
    }
    normalizer(&file["normalizer"])?;
    let rules = split(&file["pre_tokenizer"])?;
    Ok((rules, model(&file["model"])?))
}

fn normalizer(normalizer: &Value) -> Result<(), Error> {
    if normalizer.is_null() {
        return Ok(());
    }
    Err(Error::Unsupported {
        part: "normalizer",
        found: shown(normalizer),
        wanted: "texts are counted as they are: leave `tokenizer` out and the bound by bytes holds",
    })
}

/// What cuts a text into pieces.
fn split(steps: &Value) -> Result<Rules, Error> {
    let one = std::slice::from_ref(steps);
    let steps = match kind(steps) {
        "Sequence" => steps["pretokenizers"].as_array().map_or(one, Vec::as_slice),
        _ => one,
    };
    let flag = |step: &Value, name: &str, otherwise: bool| step[name].as_bool().unwrap_or(otherwise);
    let byte_level = |step: &Value, regex: bool| {
        kind(step) == "ByteLevel"
            && !flag(step, "add_prefix_space", true)
            && flag(step, "use_regex", true) == regex
    };
    let rules = match steps {
        [step] if byte_level(step, true) => Some(Rules::Gpt2),
        [cut, step] if kind(cut) == "Split" && byte_level(step, false) => {
            let whole = match cut["behavior"].as_str() {
                Some("Isolated") => !flag(cut, "invert", false),
                Some("Removed") => flag(cut, "invert", false),
                _ => false,
            };
            let pattern = cut["pattern"]["Regex"].as_str().filter(|_| whole);
            PATTERNS.iter().find(|(text, _)| pattern == Some(text)).map(|(_, rules)| *rules)
        }
        _ => None,
    };
    rules.ok_or_else(|| Error::Unsupported {
        part: "pre_tokenizer",
        found: shown(&Value::Array(steps.to_vec())),
        wanted: "known are byte-level tokenizers without a prefix space that split as GPT-2, Llama 3, Qwen 2 or \
                 o200k_base do: for others leave `tokenizer` out and the bound by bytes holds",
    })
}

fn model(model: &Value) -> Result<Vocabulary, Error> {
    let must = |name: &'static str, holds: bool, wanted: &'static str| {
        let found = || shown(&model[name]);
        if holds { Ok(()) } else { Err(Error::Unsupported { part: name, found: found(), wanted }) }
    };
    let empty = |name: &str| model[name].is_null() || model[name].as_str() == Some("");
    let off = |name: &str| !model[name].as_bool().unwrap_or(false);
    let bpe = matches!(model["type"].as_str(), Some("BPE") | None);
    must("type", bpe, "only byte-pair encoding (`BPE`) is counted: for others leave `tokenizer` out")?;
    must("dropout", model["dropout"].as_f64().unwrap_or(0.0) == 0.0, "a count cannot follow chance")?;
    let plain = "only byte-level tokenizers are counted: for others leave `tokenizer` out";
    must("continuing_subword_prefix", empty("continuing_subword_prefix"), plain)?;
    must("end_of_word_suffix", empty("end_of_word_suffix"), plain)?;
    must("byte_fallback", off("byte_fallback"), plain)?;
    vocabulary(model)
}

/// The two tokens of a merge, by their numbers in the file.
type Pair = (u32, u32);

fn vocabulary(model: &Value) -> Result<Vocabulary, Error> {
    let bytes_of = alphabet();
    let Value::Object(entries) = &model["vocab"] else {
        return Err(Error::Format("`model.vocab` is no map".to_owned()));
    };
    // By its bytes; what is no text of bytes, a special token of its own script say, is in no piece.
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let mut tokens: Vec<(u32, Vec<u8>)> = Vec::new();
    for (text, id) in entries {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| Error::Format(format!("token `{text}` has no number")))?;
        ids.insert(text, id);
        if let Some(bytes) =
            text.chars().map(|char| bytes_of.get(&char).copied()).collect::<Option<Vec<u8>>>()
        {
            tokens.push((id, bytes));
        }
    }
    tokens.sort();

    let pairs = pairs(model, &ids)?;
    let mut singles: [Option<u32>; 256] = [None; 256];
    for (id, bytes) in &tokens {
        if let [byte] = bytes.as_slice()
            && let Some(single) = singles.get_mut(usize::from(*byte))
        {
            *single = Some(*id);
        }
    }
    // No UTF-8 has these, so nobody misses them.
    let never = |byte: u8| matches!(byte, 0xC0 | 0xC1 | 0xF5..);
    if let Some(missing) = (0..=u8::MAX).zip(&singles).find(|(byte, id)| id.is_none() && !never(*byte)) {
        return Err(Error::Unsupported {
            part: "model.vocab",
            found: format!("without a token for the byte 0x{:02x}", missing.0),
            wanted: "a byte-level tokenizer has all: train it with the whole byte-level alphabet",
        });
    }

    // In a text a token comes about by one pair only, the one that is left before the last step when it stands alone,
    // because merges within its span happen in the order in which they would happen alone. So the pair's rank can be
    // the token's number, and every other pair of the file that gives the same token is never met.
    let mut reached: Vec<(u32, Pair, u32)> = Vec::new();
    for (id, bytes) in tokens.iter().filter(|(_, bytes)| bytes.len() > 1) {
        if let Some((rank, pair)) = alone(&pairs, &singles, *id, bytes) {
            reached.push((rank, pair, *id));
        }
    }
    reached.sort_unstable();
    if reached.len() + 256 >= 1 << TOKEN_BITS {
        return Err(Error::TooLarge(format!(
            "{} merges, more than {}",
            reached.len(),
            (1 << TOKEN_BITS) - 257
        )));
    }

    let mut ours: HashMap<u32, u32> = HashMap::new();
    let numbered = singles.iter().zip(0u32..).filter_map(|(id, byte)| Some(((*id)?, byte)));
    ours.extend(numbered.chain(reached.iter().zip(256u32..).map(|((_, _, id), number)| (*id, number))));
    let number = |id: u32| ours.get(&id).copied();
    let merges =
        reached.iter().map(|(_, (left, right), id)| Some((number(*left)?, number(*right)?, number(*id)?)));
    let merges: Option<Vec<_>> = merges.collect();
    let merges =
        merges.ok_or_else(|| Error::Inconsistent("a merge of tokens that no merges give".to_owned()))?;
    let all = model["ignore_merges"].as_bool().unwrap_or(false);
    // A longer one is found by its merges, if it has any.
    let lost = tokens.iter().find(|(id, bytes)| all && bytes.len() > LONGEST && !ours.contains_key(id));
    if let Some((id, bytes)) = lost {
        let why = format!("token {id} has {} bytes, more than {LONGEST}, and no merges", bytes.len());
        return Err(Error::TooLarge(why));
    }
    let word = |(id, bytes): &(u32, Vec<u8>)| (all || ours.contains_key(id)) && bytes.len() <= LONGEST;
    let words = tokens.iter().filter(|token| word(token)).map(|(_, bytes)| bytes.clone()).collect();
    Ok(Vocabulary { singles: std::array::from_fn(|byte| byte as u32), merges, words })
}

/// The merges by pair: their rank, and what they give.
fn pairs(model: &Value, ids: &HashMap<&str, u32>) -> Result<HashMap<Pair, (u32, u32)>, Error> {
    let Some(merges) = model["merges"].as_array() else {
        return Err(Error::Format("`model.merges` is no list".to_owned()));
    };
    let mut pairs = HashMap::with_capacity(merges.len());
    for (rank, merge) in (0u32..).zip(merges) {
        let both = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(both) => match both.as_slice() {
                [left, right] => left.as_str().zip(right.as_str()),
                _ => None,
            },
            _ => None,
        };
        let (left, right) = both.ok_or_else(|| Error::Format(format!("merge {rank} is no pair")))?;
        let whole = [left, right].concat();
        let id = |text: &str| {
            let missing = || Error::Inconsistent(format!("merge {rank} names `{text}`, which is no token"));
            ids.get(text).copied().ok_or_else(missing)
        };
        pairs.insert((id(left)?, id(right)?), (rank, id(&whole)?));
    }
    Ok(pairs)
}

/// Rank and pair of the last merge that makes `bytes` the token `id`, when they stand alone; `None` where they end as
/// something else.
fn alone(
    pairs: &HashMap<Pair, (u32, u32)>,
    singles: &[Option<u32>; 256],
    id: u32,
    bytes: &[u8],
) -> Option<(u32, Pair)> {
    let single = |byte: &u8| singles.get(usize::from(*byte)).copied().flatten();
    let mut parts: Vec<u32> = bytes.iter().map(single).collect::<Option<_>>()?;
    let mut last = None;
    while parts.len() > 1 {
        let neighbours = parts.iter().copied().zip(parts.iter().copied().skip(1)).enumerate();
        let merges = neighbours.filter_map(|(at, pair)| {
            let (rank, into) = *pairs.get(&pair)?;
            Some((rank, at, into, pair))
        });
        let (rank, at, into, pair) = merges.min()?;
        parts.splice(at..at + 2, [into]);
        last = Some((rank, pair));
    }
    last.filter(|_| parts == [id])
}

/// The character that stands for each byte in byte-level vocabularies: itself where it is printable Latin-1, else one of
/// those from U+0100 on, in turn.
fn alphabet() -> HashMap<char, u8> {
    let mut next = 0x100u32;
    let mut all = HashMap::new();
    for byte in 0..=u8::MAX {
        let char = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or('\0')
            }
        };
        all.insert(char, byte);
    }
    all
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or_default()
}

/// A value as an error shows it, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
