//! What a writer of a stream that goes block by block keeps in mind: the numbers of the blocks, and what is told at the
//! end. The bytes are each dialect's own.

use crate::hub::{Event, Finish, Usage};

/// More tool calls than any answer has; what is said of those beyond it goes to the last.
const MOST_TOOLS: usize = 1024;

/// How far a stream is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The number of the next block.
    pub next: u64,
    /// Blocks of the tool calls, by their index.
    tools: Vec<u64>,
    /// Why it ends.
    pub finish: Finish,
    /// The client's text that ended it.
    pub stop: Option<String>,
    pub usage: Usage,
}

impl Progress {
    /// The end of an answer that the policy stopped.
    pub fn refused(usage: &Usage) -> Self {
        Progress { finish: Finish::ContentFilter, usage: *usage, ..Progress::default() }
    }

    /// The number of the block that was opened last.
    pub fn last(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// The block that was opened last is the next tool call.
    pub fn calls(&mut self) {
        if self.tools.len() < MOST_TOOLS {
            self.tools.push(self.last());
        }
    }

    /// The block of a tool call.
    pub fn block_of(&self, index: u32) -> Option<u64> {
        let last = self.tools.len().checked_sub(1)?;
        self.tools.get(usize::try_from(index).map_or(last, |index| index.min(last))).copied()
    }

    /// Notes what an event of the first answer says about the end. A refusal in words stays one, whatever ends it.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::RefusalDelta { choice: 0, .. } => self.finish = Finish::ContentFilter,
            Event::Finish { choice: 0, finish } if self.finish != Finish::ContentFilter => {
                self.finish = *finish;
            }
            Event::StopSequence { choice: 0, text } => self.stop = Some(text.clone()),
            Event::Usage(usage) => self.usage = *usage,
            _ => {}
        }
    }
}
