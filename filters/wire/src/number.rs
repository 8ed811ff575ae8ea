//! Reading a decimal number. `core` does it to the last bit of every number, for 6 KB of the module's code; here numbers
//! are settings and delays.

/// Powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A decimal number, as JSON and headers write it; none where it is infinite or no number. The nearest `f64` where it
/// has up to 15 digits and an exponent up to 22, as every setting has; of others within a few units of the last place.
pub fn number(text: &str) -> Option<f64> {
    let (text, negative) = match text.as_bytes() {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        rest => (rest, false),
    };
    let (mut digits, mut exponent) = (0u64, 0i32);
    let (mut any, mut fraction) = (false, false);
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'0'..=b'9' => {
                any = true;
                // Nineteen digits always fit; the others only count.
                let fits = digits < 1_000_000_000_000_000_000;
                if fits {
                    digits = digits * 10 + u64::from(byte - b'0');
                }
                exponent += i32::from(!fits) - i32::from(fraction);
            }
            b'.' if !fraction => fraction = true,
            b'e' | b'E' if any => {
                let said = str::from_utf8(rest.as_slice()).ok()?;
                // One that is larger than an `i32` has the end of a smaller one.
                let negative = said.starts_with('-');
                let digits = said.strip_prefix(['-', '+']).unwrap_or(said);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let size = digits.parse().unwrap_or(i32::MAX / 4).min(i32::MAX / 4);
                exponent = exponent.saturating_add(if negative { -size } else { size });
                rest = [].iter();
            }
            _ => return None,
        }
    }
    if !any {
        return None;
    }
    let mut value = digits as f64;
    // Beyond these it is nothing or infinite, whatever its digits.
    let mut left = exponent.clamp(-400, 400);
    while left != 0 && value != 0.0 {
        let step = left.clamp(-22, 22);
        let power = POWERS.get(step.unsigned_abs() as usize).copied().unwrap_or(1.0);
        value = if step < 0 { value / power } else { value * power };
        left -= step;
    }
    value.is_finite().then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_few_digits_are_the_nearest() {
        for text in [
            "0",
            "-0",
            "1",
            "+1",
            "0.7",
            "1.",
            ".5",
            "2.50",
            "100",
            "1e2",
            "1E-2",
            "1e+22",
            "123456789012345e-22",
            "0.000001",
            "-2.0",
            "999999999999999",
            "3600.5",
            "1e22",
            "0e999",
            "0.1e1",
        ] {
            let (ours, cores) = (number(text).unwrap(), text.parse::<f64>().unwrap());
            assert_eq!(ours.to_bits(), cores.to_bits(), "{text}: {ours} {cores}");
        }
    }

    #[test]
    fn numbers_of_many_digits_are_near() {
        for text in [
            "0.30000000000000004",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "123456789012345678901234567890",
            "0.000000000000000000000000000000123456789012345678901234567890",
            "1e-300",
            "8.98846567431158e307",
            "9999999999999999999999",
        ] {
            let (ours, cores) = (number(text).unwrap(), text.parse::<f64>().unwrap());
            assert!((ours - cores).abs() <= cores.abs() * 1e-14, "{text}: {ours} {cores}");
        }
        assert_eq!(number("1e-999"), Some(0.0));
    }

    #[test]
    fn what_is_no_finite_number_is_none() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e5x",
            "1..2",
            "1.2.3",
            "inf",
            "NaN",
            "0x10",
            "1 ",
            "1_0",
            "1e400",
            "-1e400",
            "1e99999999999",
            "--1",
            "1e--5",
            "1e5.0",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
