//! What a streamed answer says, kept for its span: no more than has room there, and each of its texts apart, since only
//! its end tells what must be hidden in it.

use std::rc::Rc;

use weir_dialects::openai_chat::{Chunk, Slot, unquote};
use weir_pii as pii;
use weir_wire::json::{self, Limits, Value};

use super::sealed;
use crate::content::{FAILED, MOST, NAME, Parts, first, prefix, word};
use crate::paths::Api;

/// Texts that are kept.
const MAX_PIECES: usize = 64;

/// The texts so far.
pub(super) struct Heard {
    set: Rc<pii::Set>,
    pieces: Vec<Piece>,
    room: usize,
    cut: bool,
}

struct Piece {
    /// Of which choice, and which of its texts.
    of: (u32, Slot),
    /// Of a call.
    id: String,
    name: String,
    text: String,
    /// There was more.
    cut: bool,
}

impl Heard {
    /// Nothing yet; `set` is what must not be told.
    pub(super) fn new(set: Rc<pii::Set>) -> Self {
        Self { set, pieces: Vec::new(), room: MOST, cut: false }
    }

    /// Takes what an event says.
    pub(super) fn hear(&mut self, api: Api, payload: &[u8], chunk: &Chunk) {
        for text in chunk.texts.iter().filter(|text| !sealed(api, text.slot)) {
            let Some(said) = unquote(payload, text.value.clone()) else { continue };
            let kept = prefix(&said, self.room);
            let Some(piece) = self.piece((text.choice, text.slot)) else { continue };
            piece.text.push_str(kept);
            piece.cut |= kept.len() < said.len();
            self.room -= kept.len();
        }
        if payload.windows(6).any(|here| here == b"\"name\"")
            && let Ok(doc) = json::parse(payload, &Limits::default())
        {
            self.called(doc.root());
        }
    }

    /// Takes the names and ids of calls that begin here.
    fn called(&mut self, root: Value<'_, '_>) {
        for (holder, index, shift) in
            [("content_block", "index", 0), ("start", "contentBlockIndex", 0), ("item", "output_index", 8)]
        {
            let Some(block) = root.get(holder) else { continue };
            self.call(
                (number(root, index).unwrap_or(0) << shift, Slot::Tool(0)),
                block.get("toolUse").unwrap_or(block),
            );
        }
        for choice in root.get("choices").into_iter().flat_map(Value::items) {
            let index = number(choice, "index").unwrap_or(0);
            let Some(delta) = choice.get("delta") else { continue };
            for (at, call) in (0..).zip(delta.get("tool_calls").into_iter().flat_map(Value::items)) {
                self.call((index, Slot::Tool(number(call, "index").unwrap_or(at))), call);
            }
            if let Some(call) = delta.get("function_call") {
                self.call((index, Slot::Tool(0)), call);
            }
        }
    }

    #[inline(never)]
    fn call(&mut self, of: (u32, Slot), call: Value<'_, '_>) {
        let named = first(call, &["function", "custom"]).unwrap_or(call);
        let name = word(named.get("name"));
        if !name.is_empty()
            && let Some(piece) = self.piece(of)
        {
            let id = word(first(call, &["call_id", "toolUseId", "id"]));
            (piece.id, piece.name) = (prefix(&id, 2 * NAME).to_owned(), prefix(&name, 2 * NAME).to_owned());
        }
    }

    #[inline(never)]
    fn piece(&mut self, of: (u32, Slot)) -> Option<&mut Piece> {
        let at = self.pieces.iter().position(|piece| piece.of >= of).unwrap_or(self.pieces.len());
        if self.pieces.get(at).is_none_or(|piece| piece.of != of) {
            if self.pieces.len() >= MAX_PIECES {
                self.cut = true;
                return None;
            }
            let (id, name, text) = Default::default();
            self.pieces.insert(at, Piece { of, id, name, text, cut: false });
        }
        self.pieces.get_mut(at)
    }

    /// Nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All of it in the conventions' form, and whether something had no room. `finishes` says why each choice ended,
    /// `whole` that they all did.
    pub(super) fn tell(&self, api: Api, finishes: &[(u32, String)], whole: bool) -> (String, bool) {
        let mut parts = Parts::new(&self.set, MOST);
        parts.out.begin_array();
        let mut open = None;
        for piece in &self.pieces {
            let (choice, slot) = piece.of;
            // Elsewhere blocks take the place of choices.
            let blocks = api.messages() || matches!(api, Api::BedrockConverse | Api::OpenaiResponses);
            let choice = if blocks { None } else { Some(choice) };
            if open != Some(choice) {
                if let Some(open) = open {
                    parts.end(finish(finishes, open));
                }
                open = None;
                if !parts.fits() {
                    break;
                }
                open = Some(choice);
                parts.begin("assistant");
            }
            let whole = whole && !piece.cut;
            match slot {
                Slot::Tool(_) => parts.call(&piece.id, &piece.name, &piece.text, whole),
                Slot::Content => parts.text("text", &piece.text, whole),
                Slot::Reasoning => parts.text("reasoning", &piece.text, whole),
                Slot::Refusal => parts.text("refusal", &piece.text, whole),
            }
        }
        if let Some(open) = open {
            parts.end(finish(finishes, open));
        }
        parts.out.end_array();
        let mut cut = self.cut;
        (parts.take(&mut cut), cut)
    }
}

/// Why a choice ended, or any where the answer is one message.
fn finish(finishes: &[(u32, String)], choice: Option<u32>) -> Option<&str> {
    let of = finishes.iter().find(|(of, _)| choice.is_none_or(|choice| choice == *of));
    Some(of.map_or(FAILED, |(_, word)| word.as_str()))
}

fn number(value: Value<'_, '_>, key: &str) -> Option<u32> {
    value.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
}
