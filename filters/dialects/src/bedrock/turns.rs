//! A chat's messages laid out as Converse wants them: all system text at the head, then turns of alternating roles.
//! Neighbours of one role are merged, so all results of one round of tool calls stand in one user turn, before its
//! text and in the order of their calls; what Bedrock refuses (blank texts, unsigned reasoning) is left out by name.

use weir_sorted::{Map, sort_by, trim};

use super::family::Family;
use crate::hub::{Chat, Invalid, Loss, Message, Part, Role};
use crate::openai_chat::fields;

/// A chat laid out.
#[derive(Debug, Default)]
pub(crate) struct Plan<'c> {
    pub system: Vec<Block<'c>>,
    pub turns: Vec<Turn<'c>>,
}

/// A turn of one side.
#[derive(Debug)]
pub(crate) struct Turn<'c> {
    pub assistant: bool,
    pub blocks: Vec<Block<'c>>,
}

/// A content block to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'c> {
    /// The number of its message in the chat.
    pub message: usize,
    pub piece: Piece<'c>,
}

/// What a block holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'c> {
    Part(&'c Part),
    /// Text that Bedrock demands and nobody said; always beside a loss.
    Filler(&'static str),
}

impl<'c> Block<'c> {
    fn part(&self) -> Option<&'c Part> {
        match self.piece {
            Piece::Part(part) => Some(part),
            Piece::Filler(_) => None,
        }
    }
}

/// The path of a message, for losses and errors.
pub(crate) fn at(message: usize) -> String {
    fields::item("messages", message)
}

/// Lays the messages out. A document needs a text beside it where `text_beside_documents`.
pub(crate) fn plan<'c>(
    chat: &'c Chat,
    family: Family,
    text_beside_documents: bool,
    losses: &mut Vec<Loss>,
) -> Result<Plan<'c>, Invalid> {
    let mut plan = Plan::default();
    for (number, message) in chat.messages.iter().enumerate() {
        if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
            losses.push(Loss { path: format!("{}.name", at(number)), reason: "participants have no names" });
        }
        match message.role {
            Role::System | Role::Developer => {
                if !plan.turns.is_empty() {
                    losses.push(Loss {
                        path: at(number),
                        reason: "a system message inside the conversation is moved to its head",
                    });
                }
                add(message, number, &mut plan.system, losses);
            }
            Role::User | Role::Tool | Role::Assistant => {
                let assistant = message.role == Role::Assistant;
                let mut blocks = match plan.turns.pop_if(|turn| turn.assistant == assistant) {
                    Some(turn) => turn.blocks,
                    None => Vec::with_capacity(message.parts.len()),
                };
                add(message, number, &mut blocks, losses);
                if !blocks.is_empty() {
                    plan.turns.push(Turn { assistant, blocks });
                }
            }
        }
    }
    if plan.turns.is_empty() {
        return Err(Invalid::unsupported(
            "messages",
            "this model's provider needs at least one message of the user that is not blank",
        ));
    }
    let mut calls = Map::new();
    for turn in &mut plan.turns {
        if turn.assistant {
            calls = calls_of(&turn.blocks);
        } else {
            order_results(turn, &calls);
            if text_beside_documents {
                demand_text(turn, losses);
            }
        }
    }
    let strict = !family.is_claude() && family != Family::Unknown;
    if strict && plan.turns.first().is_some_and(|turn| turn.assistant) {
        losses.push(Loss {
            path: at(0),
            reason: "a user turn is put before it: this model takes no conversation that the assistant begins",
        });
        let filler = Block { message: 0, piece: Piece::Filler("Continue.") };
        plan.turns.insert(0, Turn { assistant: false, blocks: vec![filler] });
    }
    Ok(plan)
}

fn add<'c>(message: &'c Message, number: usize, blocks: &mut Vec<Block<'c>>, losses: &mut Vec<Loss>) {
    let mut parts = message.parts.iter().peekable();
    while let Some(part) = parts.next() {
        let refused = match part {
            // Bedrock takes no cache point right behind a document; clients put a line feed between, and that
            // one blank text it accepts.
            Part::Text(text)
                if !text.is_empty()
                    && matches!(blocks.last().and_then(Block::part), Some(Part::Document { .. }))
                    && matches!(parts.peek(), Some(Part::CachePoint { .. })) =>
            {
                blocks.push(Block { message: number, piece: Piece::Part(part) });
                None
            }
            Part::Text(text) | Part::Refusal(text) if trim(text).is_empty() => {
                // OpenAI's clients write "" beside tool calls; nothing is lost by not saying nothing.
                (!text.is_empty() || message.parts.len() == 1).then_some("blank text is not accepted")
            }
            Part::Reasoning { signature: None, .. } => {
                Some("reasoning without the provider's signature is not accepted")
            }
            Part::CachePoint { .. } if blocks.is_empty() => Some("a cache point without content before it"),
            _ => {
                blocks.push(Block { message: number, piece: Piece::Part(part) });
                None
            }
        };
        losses.extend(refused.map(|reason| Loss { path: at(number), reason }));
    }
}

/// The place of each call of a turn, by its id.
fn calls_of<'c>(blocks: &[Block<'c>]) -> Map<&'c str, usize> {
    let parts = blocks.iter().filter_map(Block::part);
    let ids = parts.filter_map(|part| match part {
        Part::ToolCall(call) => Some(call.id.as_str()),
        _ => None,
    });
    ids.enumerate().map(|(place, id)| (id, place)).collect()
}

/// Puts results first, in the order of their calls. A cache point stays behind the block that it follows.
fn order_results(turn: &mut Turn<'_>, calls: &Map<&str, usize>) {
    let rank = |block: &Block<'_>| match block.part() {
        Some(Part::ToolResult(result)) => Some(calls.get(result.id.as_str()).copied().unwrap_or(calls.len())),
        Some(Part::CachePoint { .. }) => None,
        _ => Some(usize::MAX),
    };
    let mut ranked: Vec<(usize, Block<'_>)> = Vec::with_capacity(turn.blocks.len());
    for block in turn.blocks.drain(..) {
        let last = ranked.last().map_or(usize::MAX, |(rank, _)| *rank);
        ranked.push((rank(&block).unwrap_or(last), block));
    }
    // Stable: texts and results of one call keep their order.
    sort_by(&mut ranked, |(one, _), (other, _)| one.cmp(other));
    turn.blocks.extend(ranked.into_iter().map(|(_, block)| block));
}

/// Bedrock wants a text beside a document.
fn demand_text(turn: &mut Turn<'_>, losses: &mut Vec<Loss>) {
    let text = |block: &Block<'_>| matches!(block.part(), Some(Part::Text(_) | Part::Refusal(_)));
    let document = turn.blocks.iter().find(|block| matches!(block.part(), Some(Part::Document { .. })));
    if let Some(document) = document.filter(|_| !turn.blocks.iter().any(text)) {
        let message = document.message;
        losses.push(Loss { path: at(message), reason: "a text is added: a document needs one beside it" });
        turn.blocks.push(Block { message, piece: Piece::Filler("See the document.") });
    }
}
