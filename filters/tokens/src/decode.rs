//! Token ids back into bytes. The tables have merges by their halves only, so the way back is made of them once per
//! vocabulary, when somebody asks for it: 8 bytes per token.

use std::cell::RefCell;
use std::rc::Rc;

use crate::Vocabulary;
use crate::tables::{NONE, Tables};

/// What each token is made of: a byte alone, above it a mark; or two tokens.
type Halves = Vec<(u32, u32)>;

thread_local! {
    static KNOWN: RefCell<Vec<(u64, Rc<Halves>)>> = const { RefCell::new(Vec::new()) };
}

/// The bytes of a text of tokens; `None` where one of them is no token of text.
pub fn decode(vocabulary: Vocabulary, ids: &[u32]) -> Option<Vec<u8>> {
    let number = vocabulary.number();
    let halves = KNOWN.with(|known| {
        let mut known = known.try_borrow_mut().ok()?;
        if let Some((_, halves)) = known.iter().find(|(of, _)| *of == number) {
            return Some(halves.clone());
        }
        let halves = Rc::new(halves(vocabulary.tables()));
        known.push((number, halves.clone()));
        Some(halves)
    })?;
    let mut out = Vec::with_capacity(ids.len().saturating_mul(4));
    let mut rest = Vec::new();
    for id in ids {
        rest.push(*id);
        let from = out.len();
        while let Some(id) = rest.pop() {
            match *halves.get(usize::try_from(id).ok()?)? {
                (NONE, NONE) => return None,
                (byte, NONE) => out.push(byte as u8),
                (left, right) => {
                    rest.push(right);
                    rest.push(left);
                }
            }
            // No vocabulary has tokens as long: the tables would be broken.
            if out.len() - from > MOST || rest.len() > MOST {
                return None;
            }
        }
    }
    Some(out)
}

const MOST: usize = 4096;

fn halves(tables: &Tables) -> Halves {
    let mut out: Halves = Vec::new();
    let mut put = |id: u32, halves: (u32, u32)| {
        let Ok(at) = usize::try_from(id) else { return };
        if id == NONE {
            return;
        }
        if at >= out.len() {
            out.resize(at + 1, (NONE, NONE));
        }
        if let Some(slot) = out.get_mut(at).filter(|slot| **slot == (NONE, NONE)) {
            *slot = halves;
        }
    };
    for byte in 0..=u8::MAX {
        put(tables.single(byte), (u32::from(byte), NONE));
    }
    tables.each_merge(&mut |left, right, into| put(into, (left, right)));
    out
}
