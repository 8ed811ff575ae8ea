//! What is left of a caller's budgets, in the response headers that the SDKs of its dialect know. Not in here: what is
//! counted, and `x-weir-budget`'s place among the other `x-weir-*` headers.

use weir_config::filter::ShowHeaders;
use weir_lease::{Level, Need, Refusal, Unit};

use crate::io::Now;
use crate::paths::Api;

/// A header.
pub type Field = (&'static str, String);

const OPENAI: [&str; 6] = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const ANTHROPIC: [&str; 6] = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];

/// How a dialect tells limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `x-ratelimit-*`, resets as a duration.
    Openai,
    /// `anthropic-ratelimit-*`, resets as a moment.
    Anthropic,
    /// Amazon Bedrock tells none.
    Silent,
}

/// The style of a client's API.
pub fn style(api: Api) -> Style {
    match api {
        Api::OpenaiChat
        | Api::OpenaiCompletions
        | Api::OpenaiResponses
        | Api::OpenaiEmbeddings
        | Api::Models => Style::Openai,
        Api::AnthropicMessages | Api::AnthropicCount => Style::Anthropic,
        Api::BedrockConverse | Api::BedrockInvoke | Api::BedrockModel => Style::Silent,
    }
}

/// Its headers. A provider's own say what is left of the provider's account, which is not the caller's budgets.
pub fn names(style: Style) -> &'static [&'static str] {
    match style {
        Style::Openai => &OPENAI,
        Style::Anthropic => &ANTHROPIC,
        Style::Silent => &[],
    }
}

/// One counter that a request is charged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The budget's name.
    pub budget: String,
    /// What it counts.
    pub unit: Unit,
    /// How much is left.
    pub level: Level,
}

/// The counters of a request that was admitted.
pub fn admitted(needs: &[Need], levels: &[Option<Level>]) -> Vec<Left> {
    let mut out = Vec::new();
    for (need, level) in needs.iter().zip(levels) {
        if let Some(level) = level {
            out.push(Left {
                budget: need.instance.budget.clone(),
                unit: need.instance.unit(),
                level: *level,
            });
        }
    }
    out
}

/// The counters that refused a request.
pub fn refused(refusal: &Refusal, now: Now) -> Vec<Left> {
    let mut out = Vec::new();
    for short in &refusal.budgets {
        if let Some(figures) = &short.figures {
            let level = Level {
                limit: figures.limit,
                remaining: figures.left.saturating_add(figures.leased),
                resets_at: now.0.saturating_add(figures.reset_in_ms.saturating_mul(1_000_000)),
            };
            out.push(Left { budget: short.instance.budget.clone(), unit: short.instance.unit(), level });
        }
    }
    out
}

/// The headers for these counters: per unit that the dialect has, those of the counter with the least left.
pub fn fields(style: Style, left: &[Left], now: Now) -> Vec<Field> {
    let mut out = Vec::new();
    let Some((tokens, requests)) = names(style).split_at_checked(3) else { return out };
    for (unit, names) in [(Unit::Tokens, tokens), (Unit::Requests, requests)] {
        let of_unit = left.iter().filter(|one| one.unit == unit);
        let Some(least) = of_unit.min_by_key(|one| one.level.remaining) else { continue };
        let Level { limit, remaining, resets_at } = least.level;
        let reset = match style {
            Style::Anthropic => moment(resets_at / 1_000_000_000),
            _ => duration(resets_at.saturating_sub(now.0).div_ceil(1_000_000_000)),
        };
        for (name, value) in names.iter().zip([limit.to_string(), remaining.to_string(), reset]) {
            out.push((*name, value));
        }
    }
    out
}

/// `x-weir-budget`: the counter that is nearest to its end, and with `reasons` its figures.
pub fn tightest(show: ShowHeaders, left: &[Left], now: Now) -> Option<String> {
    // Least left in proportion: shares of different units can be compared.
    let share = |one: &Left| u128::from(one.level.remaining) * 1_000_000 / u128::from(one.level.limit.max(1));
    let one = left.iter().min_by_key(|one| share(one)).filter(|_| show != ShowHeaders::None)?;
    let mut out = one.budget.clone();
    if show == ShowHeaders::Reasons {
        let Level { limit, remaining, resets_at } = one.level;
        let unit = if one.unit == Unit::NanoUsd { "nano-usd" } else { one.unit.name() };
        let reset = resets_at.saturating_sub(now.0).div_ceil(1_000_000_000);
        for (name, value) in [("; limit=", limit), ("; remaining=", remaining), ("; reset=", reset)] {
            out.push_str(name);
            out.push_str(&value.to_string());
        }
        out.push_str("; unit=");
        out.push_str(unit);
    }
    Some(out)
}

/// Seconds as OpenAI writes them: `7s`, `6m0s`, `11h59m3s`.
fn duration(seconds: u64) -> String {
    let mut out = String::new();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    for (value, unit) in parts {
        if value > 0 || unit == 's' || !out.is_empty() {
            out.push_str(&value.to_string());
            out.push(unit);
        }
    }
    out
}

/// A Unix time as RFC 3339 has it, in UTC.
fn moment(unix: u64) -> String {
    // Years begin in March here, so that the leap day is the last one.
    let (days, time) = (unix / 86_400 + 719_468, unix % 86_400);
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let mut out = String::with_capacity(20);
    let year = era * 400 + year + carry;
    let parts = [
        (year, 1000, '-'),
        (month, 10, '-'),
        (date, 10, 'T'),
        (time / 3600, 10, ':'),
        (time / 60 % 60, 10, ':'),
        (time % 60, 10, 'Z'),
    ];
    for (value, mut scale, after) in parts {
        while scale > 0 {
            out.push(char::from(b'0' + (value / scale % 10) as u8));
            scale /= 10;
        }
        out.push(after);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now(1_700_000_000_000_000_000);

    fn left(budget: &str, unit: Unit, limit: u64, remaining: u64, seconds: u64) -> Left {
        let resets_at = NOW.0 + seconds * 1_000_000_000;
        Left { budget: budget.into(), unit, level: Level { limit, remaining, resets_at } }
    }

    #[test]
    fn durations_and_moments_read_as_the_providers_write_them() {
        for (seconds, text) in [
            (0, "0s"),
            (1, "1s"),
            (59, "59s"),
            (60, "1m0s"),
            (360, "6m0s"),
            (3600, "1h0m0s"),
            (90_061, "25h1m1s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(moment(unix), text);
        }
    }

    #[test]
    fn each_dialect_gets_the_tightest_counter_of_each_unit() {
        let counters = [
            left("day", Unit::Tokens, 2_000_000, 1_500, 4_000),
            left("minute", Unit::Tokens, 200_000, 199_000, 30),
            left("calls", Unit::Requests, 600, 599, 30),
            left("money", Unit::NanoUsd, 1_000, 1, 30),
        ];
        let told = |style| {
            let fields = fields(style, &counters, NOW);
            fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            told(Style::Openai),
            [
                "x-ratelimit-limit-tokens: 2000000",
                "x-ratelimit-remaining-tokens: 1500",
                "x-ratelimit-reset-tokens: 1h6m40s",
                "x-ratelimit-limit-requests: 600",
                "x-ratelimit-remaining-requests: 599",
                "x-ratelimit-reset-requests: 30s",
            ]
        );
        assert_eq!(told(Style::Anthropic)[2], "anthropic-ratelimit-tokens-reset: 2023-11-14T23:20:00Z");
        assert_eq!(told(Style::Anthropic)[4], "anthropic-ratelimit-requests-remaining: 599");
        assert_eq!(told(Style::Silent).len(), 0);
        assert_eq!(tightest(ShowHeaders::Ids, &counters, NOW).as_deref(), Some("day"));
        assert_eq!(tightest(ShowHeaders::None, &counters, NOW), None);
        assert_eq!(
            tightest(ShowHeaders::Reasons, &counters, NOW).as_deref(),
            Some("day; limit=2000000; remaining=1500; reset=4000; unit=tokens")
        );
    }
}
