//! How the command line shows figures: columns that fit what is in them, numbers to the right.

use serde_json::Value;
use weir_config::policy::Usd;

/// Prints rows below a head. A column whose name ends in `>` holds numbers.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|name| name.trim_end_matches('>').chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let names: Vec<String> = head.iter().map(|name| name.trim_end_matches('>').to_uppercase()).collect();
    let mut out = String::new();
    for row in std::iter::once(&names).chain(rows) {
        let mut line = String::new();
        for ((cell, width), name) in row.iter().zip(&widths).zip(head) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            match name.ends_with('>') {
                true => line.push_str(&format!("{pad}{cell}  ")),
                false => line.push_str(&format!("{cell}{pad}  ")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Units: money with its point, all else in groups of three digits.
pub fn amount(value: &Value, unit: &str) -> String {
    match (value.as_u64(), unit) {
        (None, _) => "-".into(),
        (Some(nano), "usd") => Usd { nano }.to_string(),
        (Some(count), _) => number(count),
    }
}

/// `1,234,567`.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A text of a document; control characters, such as those between the parts of a subject, become spaces.
pub fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match text.replace('\u{1f}', ", ") {
        text if text.is_empty() => "-".into(),
        text => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

/// An instant in UTC.
pub fn time(ms: &Value) -> String {
    let at = ms.as_u64().and_then(|ms| i64::try_from(ms).ok());
    let at = at.and_then(|ms| jiff::Timestamp::from_second(ms / 1_000).ok());
    at.map_or_else(|| "-".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [vec!["day".into(), "1,000".into()], vec!["a-month".into(), "7".into()]];
        assert_eq!(
            table(&["budget", "settled>"], &rows),
            "BUDGET   SETTLED\nday        1,000\na-month        7\n"
        );
    }

    #[test]
    fn money_has_a_point_and_counts_have_commas() {
        assert_eq!(amount(&json!(2_500_000_000u64), "usd"), "2.5");
        assert_eq!(amount(&json!(1_234_567), "tokens"), "1,234,567");
        assert_eq!(amount(&json!(999), "requests"), "999");
        assert_eq!(amount(&json!(null), "tokens"), "-");
        assert_eq!(text(&json!("a\u{1f}b\u{1b}[2J")), "a, b [2J");
    }
}
