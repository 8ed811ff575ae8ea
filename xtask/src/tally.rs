//! Sums the result lines of `cargo test` while passing its output on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::process::{Context, Result};

/// Tests that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Went well.
    pub passed: u64,
    /// Went wrong; a program that could not be built or crashed counts as one.
    pub failed: u64,
}

impl Tally {
    /// Takes in one line of output.
    fn line(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// Runs cargo test and counts.
pub fn run(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read cargo test's output")?;
            let line = String::from_utf8_lossy(&line);
            // Nobody reads along any more: count on.
            let _ = writeln!(std::io::stdout(), "{line}");
            tally.line(&line);
        }
    }
    let status = child.wait().context("cargo test did not end")?;
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_summed_and_others_are_not() {
        let mut tally = Tally::default();
        tally.line(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s",
        );
        tally.line("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.line("    7 passed; 7 failed");
        assert_eq!(tally, Tally { passed: 15, failed: 2 });
    }
}
