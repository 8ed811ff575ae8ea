//! Ages, where a form gives them: `age: 34`, `aged 34`. A story's `he is 12 years old` is not looked for: texts and
//! exercises are full of it.

use super::check::part;
use super::context::Near;
use super::row::{LONGEST, Row};
use super::{Detector, Scan};

pub(super) const DETECTOR: Detector = Detector {
    id: "age",
    mask: "[AGE]",
    longest: LONGEST,
    context: &["age:", "age\":", "aged ", "patient age", "age at", "current age"],
    scan: Scan::Rows(&[
        Row::new(0x2, "d2", 0).near(Near::Before(14)),
        Row::new(0x3, "d3", 0).check(|text| part(text, 0, 3) < 125).near(Near::Before(14)),
    ]),
};

#[cfg(test)]
mod tests {
    use super::super::vectors::marked;

    #[test]
    fn ages_are_found_behind_words() {
        marked(
            "age",
            &[
                "Age: <34>, aged <71>.",
                "{\"age\": <34>}, Age = 10",
                "he is 12 years old, page: 34, aged 999, age of 34",
            ],
        );
    }
}
