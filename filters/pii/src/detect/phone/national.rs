//! Telephone numbers that begin with a zero, where more numbers follow: what tables of numbers ask most, told by little more
//! than the lengths of groups. Whatever is not so plain is left to the loop that reads all forms, and means the same there.

use super::super::series::Numbers;
use super::{DIGITS, FORM, LONGEST};
use crate::view::View;

/// Where a number ends that begins at `start` with a zero, where no words stand around; `row` where another one stands before
/// it. None where more has to be seen; within, where it is no number.
pub(super) fn national(view: &View<'_>, start: usize, numbers: Numbers, row: bool) -> Option<Option<usize>> {
    let (mut digits, lead) = (numbers.bits(), numbers.first());
    let third = start + 2 + if lead == 2 { numbers.behind().1 as usize } else { 0 };
    let exit = match [view.at(start), view.at(start + 1)] {
        [b'0', b'0'] if view.at(third) != b'0' && (!row || lead <= 5) => true,
        [b'0', b'1'..=b'9'] if lead <= 5 => false,
        _ => return None,
    };
    let (most, least) = if exit { (DIGITS as u32, FORM + 3) } else { (11, FORM + 1) };
    // Only one group is in parentheses, and none behind an area code's zero.
    let mut parenthesis = !exit;
    let (mut end, mut count, mut groups, mut best) = (start, 0, 0u64, None);
    loop {
        let length = digits.trailing_ones();
        digits = digits.unbounded_shr(length);
        end += length as usize;
        count += length;
        groups = groups << 4 | u64::from(length.min(15));
        if count > most && groups != 0x2334 {
            return Some(best);
        }
        let far = digits.trailing_zeros() as usize;
        // No sign, or four, or the text's end. Nor is it known whether this is an American number.
        let Some([signs @ .., _]) = view.bytes().get(end..end + 5) else { return None };
        if !matches!(far, 1..=3) || groups == 0x2334 {
            return None;
        }
        let mut opens = false;
        for sign in signs.iter().take(far) {
            match sign {
                b' ' | b'-' | b'/' | b')' => {}
                b'(' if !parenthesis => opens = true,
                b'(' if count < least => return Some(None),
                _ => return None,
            }
        }
        parenthesis |= opens;
        // As `Number::form` has it.
        let fits = match count {
            _ if groups < 16 || matches!(groups, 0x2242 | 0x334 | 0x4444 | 0x465) => false,
            11.. if exit => true,
            10.. => !exit && groups & 15 > 1 && groups & 0xf0 > 0x10,
            9 => !exit && groups & 15 > 1 && groups & 0xf0 > 0x10 && lead == 2,
            _ => false,
        };
        if fits && matches!(signs, [b' ' | b'/', ..]) && view.fits(start, end, LONGEST) {
            best = Some(end);
        }
        digits >>= far;
        end += far;
    }
}

#[cfg(test)]
mod tests {
    use crate::{Action, Finding, Rule, Set, find};

    /// Behind a sign of assignment, all forms are read by one loop.
    #[test]
    fn rows_are_told_as_by_the_loop_that_reads_all_forms() -> Result<(), crate::UnknownType> {
        let rule = Rule { find: vec!["phone".into()], words: Vec::new(), action: Action::Report };
        let set = Set::new(&[rule])?;
        let mut seed = 7u32;
        let mut below = |most: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % most
        };
        let signs = [" ", " ", " ", " ", "  ", "   ", "-", "/", ".", " (", ") ", ")(", " - ", "    "];
        let mut all = 0;
        for _ in 0..60_000 {
            let mut row = "0".repeat(below(3) as usize + 1);
            for _ in 0..below(9) + 2 {
                for _ in 0..below(4) {
                    row.push(char::from(b'0' + (below(14) % 10) as u8));
                }
                row.push_str(signs[below(signs.len() as u32) as usize]);
                row.push(char::from(b'0' + (below(14) % 10) as u8));
            }
            let found = |before: &str| {
                let text = format!("{before}{row} and so on");
                let mut out: Vec<Finding> = Vec::new();
                find(&set, &text, &mut out);
                out.iter().map(|finding| finding.range.clone()).collect::<Vec<_>>()
            };
            let plain = found("x ");
            assert_eq!(plain, found("x="), "{row}");
            all += plain.len();
        }
        assert!(all > 10_000, "{all}");
        Ok(())
    }
}
