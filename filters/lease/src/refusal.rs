//! Why a request may not spend: everything that the answer to the client needs.

use crate::instance::{Instance, Unit};
use crate::message::Figures;

/// The code in the error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Others' reservations hold what is left; some of it usually comes back. 429.
    Held,
    /// Neighbours were faster, several times in a row. 429.
    Contended,
    /// Used up until the window ends. 429.
    Exhausted,
    /// The ledger recovers and pauses grants. 503.
    Quarantine,
    /// The ledger cannot be reached, or does not know the budget. 503.
    Unavailable,
}

impl Code {
    /// `budget_exhausted` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Exhausted => "budget_exhausted",
            Code::Held => "budget_held",
            Code::Contended => "budget_contended",
            Code::Unavailable => "budget_unavailable",
            Code::Quarantine => "budget_quarantine",
        }
    }

    /// The HTTP status: 429 or 503.
    pub const fn status(self) -> u16 {
        match self {
            Code::Exhausted | Code::Held | Code::Contended => 429,
            Code::Unavailable | Code::Quarantine => 503,
        }
    }
}

/// A refused reservation.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The gravest code of the budgets that refuse.
    pub code: Code,
    /// The longest wait over the budgets that refuse, in milliseconds: the expected release where the shortage is
    /// transient, else the reset. Never 0.
    pub retry_after_ms: u64,
    /// The budgets that refuse, the longest wait first.
    pub budgets: Vec<Shortfall>,
}

/// One budget that refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    /// Which counter.
    pub instance: Instance,
    /// Why.
    pub code: Code,
    /// What the request needs at least.
    pub need: u64,
    /// The ledger's figures, all of one moment; `None` when the ledger did not answer.
    pub figures: Option<Figures>,
    /// Wait in milliseconds.
    pub retry_after_ms: u64,
}

impl Shortfall {
    pub(crate) fn new(instance: &Instance, code: Code, need: u64, figures: Option<Figures>) -> Shortfall {
        let retry_after_ms = match (code, &figures) {
            (Code::Exhausted, Some(figures)) => figures.reset_in_ms.max(1),
            (Code::Held, Some(figures)) => figures.release_in_ms.max(1_000),
            _ => 1_000,
        };
        Shortfall { instance: instance.clone(), code, need, figures, retry_after_ms }
    }
}

impl Refusal {
    /// Of the shortfalls of one request. Without any it still refuses: as unavailable.
    pub(crate) fn of(mut budgets: Vec<Shortfall>) -> Refusal {
        // Two or three at most: a library sort would be more machine code than all else here.
        for from in 1..budgets.len() {
            for at in (1..=from).rev() {
                let (Some(a), Some(b)) = (budgets.get(at - 1), budgets.get(at)) else { break };
                if a.retry_after_ms >= b.retry_after_ms {
                    break;
                }
                budgets.swap(at - 1, at);
            }
        }
        let code = budgets.iter().map(|one| one.code).max().unwrap_or(Code::Unavailable);
        let retry_after_ms = budgets.first().map_or(1_000, |first| first.retry_after_ms);
        Refusal { code, retry_after_ms, budgets }
    }

    /// One sentence or more in English for the client, with the figures of the first budget.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let Some(first) = self.budgets.first() else { return out };
        out.push_str("Budget ");
        out.push_str(&first.instance.budget);
        let Some(figures) = &first.figures else {
            out.push_str(match first.code {
                Code::Contended => " is contended: other requests were faster. Try again in a moment.",
                Code::Quarantine => " is closed for a moment while its ledger recovers.",
                _ => " cannot be checked: its ledger does not answer.",
            });
            return out;
        };
        let unit = first.instance.unit();
        out.push_str(" (");
        amount(&mut out, figures.limit, unit);
        out.push_str(" per ");
        out.push_str(&figures.window);
        out.push_str(", ");
        out.push_str(&figures.timezone);
        out.push_str(match first.code {
            Code::Held => ") has too little free at the moment: ",
            Code::Contended => ") is contended: ",
            Code::Quarantine => ") is closed for a moment while its ledger recovers: ",
            _ => ") is used up: ",
        });
        amount(&mut out, figures.settled, unit);
        out.push_str(" settled, ");
        amount(&mut out, figures.held, unit);
        out.push_str(" held by ");
        digits(&mut out, u64::from(figures.running));
        out.push_str(if figures.running == 1 { " running request, " } else { " running requests, " });
        if figures.leased > 0 {
            amount(&mut out, figures.leased, unit);
            out.push_str(" leased to gateways, ");
        }
        amount(&mut out, figures.stranded, unit);
        out.push_str(" stranded by a lost gateway, ");
        if figures.headroom > 0 {
            amount(&mut out, figures.headroom, unit);
            out.push_str(" kept back for answers above their bounds, ");
        }
        amount(&mut out, figures.left, unit);
        out.push_str(" left; this request needs at least ");
        amount(&mut out, first.need, unit);
        out.push_str(". It resets in ");
        span(&mut out, figures.reset_in_ms);
        out.push('.');
        if first.code == Code::Held {
            out.push_str(" Held units usually come back within ");
            span(&mut out, figures.release_in_ms);
            out.push('.');
        }
        out
    }
}

fn amount(out: &mut String, value: u64, unit: Unit) {
    match unit {
        Unit::NanoUsd => {
            digits(out, value / 1_000_000_000);
            out.push('.');
            // Six places show every amount that matters; rounding down never promises more than is left.
            let mut micro = value % 1_000_000_000 / 1_000;
            let mut places = 6;
            while places > 2 && micro.is_multiple_of(10) {
                micro /= 10;
                places -= 1;
            }
            let mut scale = 10u64.pow(places - 1);
            while scale > 0 {
                out.push(char::from(b'0' + (micro / scale % 10) as u8));
                scale /= 10;
            }
            out.push_str(" USD");
        }
        unit => {
            digits(out, value);
            out.push(' ');
            out.push_str(unit.name());
        }
    }
}

/// Decimal digits in groups of three.
fn digits(out: &mut String, value: u64) {
    let mut scale = 1_000_000_000_000_000_000u64;
    let mut begun = false;
    while scale > 0 {
        let group = value / scale % 1_000;
        if begun {
            out.push(',');
        }
        if begun || group > 0 || scale == 1 {
            for place in [100, 10, 1] {
                if begun || group >= place || place == 1 {
                    out.push(char::from(b'0' + (group / place % 10) as u8));
                }
            }
            begun = true;
        }
        scale /= 1_000;
    }
}

fn span(out: &mut String, ms: u64) {
    let seconds = ms.div_ceil(1_000).max(1);
    let (value, unit, rest, small) = match seconds {
        0..60 => (seconds, " s", 0, ""),
        60..3_600 => (seconds / 60, " min", seconds % 60, " s"),
        3_600..86_400 => (seconds / 3_600, " h", seconds % 3_600 / 60, " min"),
        _ => (seconds / 86_400, " d", seconds % 86_400 / 3_600, " h"),
    };
    digits(out, value);
    out.push_str(unit);
    if rest > 0 {
        out.push(' ');
        digits(out, rest);
        out.push_str(small);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: u64, unit: Unit) -> String {
        let mut out = String::new();
        amount(&mut out, value, unit);
        out
    }

    #[test]
    fn amounts_read_like_prices_and_counts() {
        for (value, unit, expected) in [
            (0, Unit::Tokens, "0 tokens"),
            (926, Unit::Tokens, "926 tokens"),
            (1_000, Unit::Tokens, "1,000 tokens"),
            (2_000_017, Unit::Requests, "2,000,017 requests"),
            (u64::MAX, Unit::Tokens, "18,446,744,073,709,551,615 tokens"),
            (250_000_000_000, Unit::NanoUsd, "250.00 USD"),
            (1_234_567_899, Unit::NanoUsd, "1.234567 USD"),
            (500_000_000, Unit::NanoUsd, "0.50 USD"),
            (12_000, Unit::NanoUsd, "0.000012 USD"),
        ] {
            assert_eq!(shown(value, unit), expected);
        }
    }

    #[test]
    fn the_text_names_everything_that_adds_up() {
        let figures = Figures {
            limit: 2_000_000,
            settled: 1_981_204,
            held: 17_870,
            running: 4,
            left: 926,
            reset_in_ms: 11_520_000,
            release_in_ms: 9_000,
            window: "day".into(),
            timezone: "UTC".into(),
            ..Figures::default()
        };
        let instance = Instance::new("acme-smart-day", Unit::Tokens, "", "");
        let refusal = Refusal::of(vec![Shortfall::new(&instance, Code::Exhausted, 1_204, Some(figures))]);
        assert_eq!(
            refusal.text(),
            "Budget acme-smart-day (2,000,000 tokens per day, UTC) is used up: 1,981,204 tokens settled, 17,870 tokens held by \
             4 running requests, 0 tokens stranded by a lost gateway, 926 tokens left; this request needs at least 1,204 tokens. \
             It resets in 3 h 12 min."
        );
        assert_eq!(refusal.retry_after_ms, 11_520_000);
        let kept = Figures { limit: 1_000, settled: 700, left: 293, headroom: 7, ..Figures::default() };
        let refusal = Refusal::of(vec![Shortfall::new(&instance, Code::Held, 400, Some(kept))]);
        let text = refusal.text();
        assert!(
            text.contains("lost gateway, 7 tokens kept back for answers above their bounds, 293 tokens left"),
            "{text}"
        );
    }
}
