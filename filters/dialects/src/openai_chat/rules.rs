//! What chat templates add to the texts, by model, as data: a row is a family's name and its numbers, and a model is
//! the first row that its name begins with. Nothing here is code of one model. The rows were measured on recorded
//! usage (`cargo test -p weir-dialects --test counts -- --nocapture` prints how well each fits); what was not measured
//! is the default row, the rule of OpenAI's cookbook.

use super::image_tokens::ImageRule;

/// The numbers of a family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Around each message, in tokens, as all that follows.
    pub per_message: u64,
    /// Before a name.
    pub per_name: u64,
    /// Once, for the reply to come.
    pub per_reply: u64,
    /// What the template says before the first message.
    pub opening: u64,
    /// How far a template of this family may stray from what is counted: dates, effort, versions.
    pub slack: u64,
    /// Tools.
    pub tools: ToolRule,
    /// Pictures.
    pub image: ImageRule,
    /// The row was measured or published for this model: its picture rule is a bound.
    pub known: bool,
}

/// What the template says around tools and their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolRule {
    /// Around all of them together.
    pub around: u64,
    /// Of it, what is saved where a system message opens the chat; above 0 that message gets a line break at its end.
    pub with_system: u64,
    /// What is saved for a tool whose first parameter has no description.
    pub undescribed: u64,
    /// Around one call.
    pub per_call: u64,
    /// What a provider says to the model about tools at most, unseen: part of a proven bound. The longest on record is
    /// Nova 2 Lite's, 870.
    pub hidden: u64,
    /// What is saved where one message makes several calls.
    pub parallel: u64,
}

impl Rules {
    /// The rule of OpenAI's cookbook, for what was not measured.
    pub const COOKBOOK: Rules = COOKBOOK;
}

const COOKBOOK: Rules = Rules {
    per_message: 3,
    per_name: 1,
    per_reply: 3,
    opening: 0,
    slack: 8,
    tools: ToolRule { around: 9, with_system: 4, undescribed: 1, per_call: 0, hidden: 1024, parallel: 3 },
    image: ImageRule::Tiles { base: 85, tile: 170 },
    known: false,
};

const MEASURED: Rules = Rules { known: true, tools: ToolRule { hidden: 128, ..COOKBOOK.tools }, ..COOKBOOK };

/// gpt-5 and its like bill one token less for the reply, and their tools come behind a longer prompt.
const REASONING: Rules = Rules {
    per_reply: 2,
    tools: ToolRule { around: 90, with_system: 0, undescribed: 0, per_call: 6, hidden: 256, parallel: 0 },
    image: ImageRule::Tiles { base: 70, tile: 140 },
    ..MEASURED
};

/// Harmony opens with a system message of its own.
const HARMONY: Rules = Rules { per_reply: 3, opening: 60, slack: 68, known: false, ..REASONING };

const fn patches(percent: u64) -> ImageRule {
    ImageRule::Patches { base: 2, percent }
}

const fn image(rules: Rules, image: ImageRule) -> Rules {
    Rules { image, ..rules }
}

/// Families by the beginning of their models' names; the first that fits holds.
pub const TABLE: &[(&str, Rules)] = &[
    ("gpt-oss", HARMONY),
    ("gpt-5-mini", image(REASONING, patches(120))),
    ("gpt-5-nano", image(REASONING, patches(246))),
    ("gpt-5", REASONING),
    ("gpt-4o-mini", image(MEASURED, ImageRule::Tiles { base: 2833, tile: 5667 })),
    ("gpt-4.1-mini", image(MEASURED, patches(162))),
    ("gpt-4.1-nano", image(MEASURED, patches(246))),
    ("o3-mini", image(REASONING, ImageRule::Tiles { base: 75, tile: 150 })),
    ("o4-mini", image(REASONING, patches(172))),
    ("o1", image(MEASURED, ImageRule::Tiles { base: 75, tile: 150 })),
    ("o3", image(REASONING, ImageRule::Tiles { base: 75, tile: 150 })),
    ("chatgpt-4o", MEASURED),
    ("gpt-4", MEASURED),
    ("gpt-3.5", MEASURED),
];

impl Default for Rules {
    fn default() -> Self {
        COOKBOOK
    }
}

impl Rules {
    /// The row of a model by the provider's own name of it: `gpt-4o-2024-08-06`, `openai/gpt-oss-20b`,
    /// `openai.gpt-oss-120b-1:0`.
    pub fn of_model(name: &str) -> &'static Rules {
        const DEFAULT: &Rules = &COOKBOOK;
        let name = name.rsplit('/').next().unwrap_or(name);
        let name = name.strip_prefix("openai.").unwrap_or(name);
        TABLE.iter().find(|(head, _)| name.starts_with(head)).map_or(DEFAULT, |(_, rules)| rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached() {
        for (at, (head, rules)) in TABLE.iter().enumerate() {
            let hidden = TABLE.iter().take(at).find(|(other, _)| head.starts_with(other));
            assert_eq!(hidden, None, "{head} is hidden");
            assert_eq!(Rules::of_model(&format!("{head}-2030-01-01")), rules);
        }
    }

    #[test]
    fn a_model_is_known_by_any_of_its_names() {
        for name in ["gpt-oss-20b", "openai/gpt-oss-20b", "openai.gpt-oss-120b-1:0"] {
            assert_eq!(Rules::of_model(name).opening, 60, "{name}");
        }
        assert_eq!(Rules::of_model("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), &COOKBOOK);
        assert_eq!(Rules::of_model(""), &COOKBOOK);
    }
}
