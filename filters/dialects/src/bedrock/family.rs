//! What the model id tells: the path that it makes, and how its family spells the few settings that Converse leaves
//! to each model. An ARN hides the family; then only what Converse itself defines is used.

use crate::hub::Loss;

/// `/model/{id}/converse` or `/model/{id}/converse-stream`, the id percent-encoded once: every byte but RFC 3986's
/// unreserved ones, so `:` is `%3A` and the `/` of an ARN is `%2F`.
pub fn path(model_id: &str, stream: bool) -> String {
    operation(model_id, if stream { "/converse-stream" } else { "/converse" })
}

/// The same of InvokeModel.
pub fn invoke_path(model_id: &str, stream: bool) -> String {
    operation(model_id, if stream { "/invoke-with-response-stream" } else { "/invoke" })
}

/// Whether the id says that the model is Anthropic's. An ARN hides it.
pub fn is_claude(model_id: &str) -> bool {
    Family::of(model_id).is_claude()
}

fn operation(model_id: &str, operation: &str) -> String {
    let mut path = String::with_capacity(model_id.len() + 40);
    path.push_str("/model/");
    for byte in model_id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for half in [byte >> 4, byte & 15] {
                path.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    path.push_str(operation);
    path
}

/// Model families that differ in what Converse leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Claude that knows efforts.
    Claude,
    /// Claude before efforts.
    OldClaude,
    /// Amazon Nova.
    Nova,
    /// OpenAI's open models.
    GptOss,
    /// Qwen 3.
    Qwen,
    /// Known to have neither efforts nor anything else of its own.
    Plain,
    /// An ARN or a model newer than this table.
    Unknown,
}

/// By a part of the id; the first match counts.
const FAMILIES: &[(&str, Family)] = &[
    ("anthropic.claude-3", Family::OldClaude),
    ("anthropic.claude-v2", Family::OldClaude),
    ("anthropic.claude-instant", Family::OldClaude),
    ("anthropic.claude-opus-4-1", Family::OldClaude),
    ("anthropic.claude-opus-4-2025", Family::OldClaude),
    ("anthropic.claude-sonnet-4-5", Family::OldClaude),
    ("anthropic.claude-sonnet-4-2025", Family::OldClaude),
    ("anthropic.claude-haiku-4-5", Family::OldClaude),
    ("anthropic.", Family::Claude),
    ("amazon.nova", Family::Nova),
    ("openai.gpt-oss", Family::GptOss),
    ("qwen.", Family::Qwen),
    ("amazon.titan", Family::Plain),
    ("meta.llama", Family::Plain),
    ("mistral.", Family::Plain),
    ("cohere.", Family::Plain),
    ("ai21.", Family::Plain),
];

impl Family {
    /// The family of a model id.
    pub(crate) fn of(model_id: &str) -> Family {
        FAMILIES
            .iter()
            .find(|(part, _)| weir_sorted::contains(model_id, part))
            .map_or(Family::Unknown, |(_, family)| *family)
    }

    /// Whether it is Anthropic's.
    pub(crate) fn is_claude(self) -> bool {
        matches!(self, Family::Claude | Family::OldClaude)
    }
}

/// Where an effort goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// `outputConfig.effort`
    Converse(&'static str),
    /// `additionalModelRequestFields.reasoning_effort`
    GptOss(&'static str),
    /// `additionalModelRequestFields.reasoning_config`
    Qwen(&'static str),
}

/// OpenAI's effort for a family; none where it is left out, with the loss said.
pub(crate) fn effort(family: Family, asked: &str, thinks: bool, losses: &mut Vec<Loss>) -> Option<Effort> {
    let mut lose = |reason| losses.push(Loss { path: "reasoning_effort".into(), reason });
    if asked == "none" {
        return None;
    }
    let word = by_name!(asked => {
        "minimal" => {
            lose("'minimal' is written as 'low'");
            "low"
        },
        "low" => "low",
        "medium" => "medium",
        "high" => "high",
        "xhigh" | "max" => match (family, asked) {
            // More than high is for models that were also told to think.
            (Family::Claude, "xhigh") if thinks => "xhigh",
            (Family::Claude, _) if thinks => "max",
            _ => {
                lose("an effort above 'high' is written as 'high'");
                "high"
            }
        },
        _ => {
            lose("an effort that Bedrock does not know");
            return None;
        },
    });
    match family {
        Family::GptOss => Some(Effort::GptOss(word)),
        Family::Qwen => Some(Effort::Qwen(word)),
        Family::Claude | Family::Unknown => Some(Effort::Converse(word)),
        Family::OldClaude | Family::Nova | Family::Plain => {
            lose("this model takes no effort");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_are_encoded_once() {
        for (id, encoded) in [
            ("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1%3A0"),
            ("us.anthropic.claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-6"),
            (
                "arn:aws:bedrock:R:1:inference-profile/x",
                "arn%3Aaws%3Abedrock%3AR%3A1%3Ainference-profile%2Fx",
            ),
            ("a b%~é", "a%20b%25~%C3%A9"),
        ] {
            assert_eq!(path(id, false), format!("/model/{encoded}/converse"));
            assert_eq!(path(id, true), format!("/model/{encoded}/converse-stream"));
        }
    }

    #[test]
    fn families_are_told_by_id() {
        for (id, family) in [
            ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Family::OldClaude),
            ("anthropic.claude-sonnet-4-20250514-v1:0", Family::OldClaude),
            ("us.anthropic.claude-sonnet-4-6", Family::Claude),
            ("global.anthropic.claude-opus-4-5-20251101-v1:0", Family::Claude),
            ("amazon.nova-micro-v1:0", Family::Nova),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/q", Family::Unknown),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2", Family::OldClaude),
        ] {
            assert_eq!(Family::of(id), family, "{id}");
        }
    }

    #[test]
    fn efforts_above_high_need_thinking() {
        for (family, asked, thinks, written, lost) in [
            (Family::Claude, "high", false, Some(Effort::Converse("high")), 0),
            (Family::Claude, "xhigh", false, Some(Effort::Converse("high")), 1),
            (Family::Claude, "xhigh", true, Some(Effort::Converse("xhigh")), 0),
            (Family::Claude, "max", true, Some(Effort::Converse("max")), 0),
            (Family::GptOss, "max", true, Some(Effort::GptOss("high")), 1),
            (Family::Qwen, "minimal", false, Some(Effort::Qwen("low")), 1),
            (Family::Unknown, "none", false, None, 0),
            (Family::Plain, "low", false, None, 1),
            (Family::Unknown, "utmost", false, None, 1),
        ] {
            let mut losses = Vec::new();
            assert_eq!(effort(family, asked, thinks, &mut losses), written, "{family:?} {asked}");
            assert_eq!(losses.len(), lost, "{family:?} {asked}");
        }
    }
}
