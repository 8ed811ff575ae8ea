//! Seeded adversarial texts, and the oracle's answer: shared by the tests and the fuzz example.
#![allow(dead_code, reason = "each user takes a part of it")]

use weir_tokens::Vocabulary;

/// A small generator of random numbers (splitmix64), so that a seed means the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Fragments on which splitters and merges have gone wrong, ours or others'.
const POOLS: &[&[&str]] = &[
    // apostrophes and everything that case folding makes of the letters after them
    &[
        "'", "''", "'s", "'S", "'ſ", "'t", "'T", "'re", "'RE", "'rE", "'ve", "'Ve", "'m", "'M", "'ll", "'LL",
        "'lL", "'d", "'D", "'l", "'r", "'v", "’s", "ſ", "K", "s", "S", "l", "e", "x", "X", " ", "\n", "don",
        "WE", "日", "1", "\u{301}",
    ],
    // case changes, title case, modifiers, caseless scripts
    &[
        "a", "A", "bc", "BC", "ǅ", "ǈ", "ʰ", "ˠ", "ª", "º", "中", "あ", "א", "ع", "ก", "ß", "ẞ", "İ", "ı",
        "ǰ", "Ω", "ω", "Ⅷ", "ⅷ", "ⓐ", "𝔸", "𝕒", "'s", " ", "ー", "ﾞ", "\u{345}", "𐐀", "𐐨", "Ა", "ა",
    ],
    // white space and line ends of every kind
    &[
        " ", "  ", "   ", "\t", "\r", "\n", "\r\n", "\n\r", "\u{b}", "\u{c}", "\u{85}", "\u{a0}", "\u{1680}",
        "\u{2003}", "\u{2028}", "\u{2029}", "\u{202f}", "\u{205f}", "\u{3000}", "\u{180e}", "\u{200b}",
        "\u{feff}", "a", ".", "1", "/", "//", "é",
    ],
    // symbols, slashes and line ends
    &[
        "/", "//", "!", "...", "=", "==", "{", "}\n", "/\n", "\n/", "\r/", "?!", " ", " /", " .", "\n", "a",
        "0", "\u{301}", "€", "«", "»", "—", "†", "™", "⌘", "'", "\"", "`", "\\", "\0", "\u{7f}", "\u{1b}",
    ],
    // digits and numbers of all scripts
    &[
        "0", "1", "23", "456", "7890", "٣", "४", "೯", "๕", "Ⅳ", "½", "²", "③", "㊿", "𝟘", "〇", "一", ".",
        ",", " ", "a", "-", "e", "\u{20e3}", "₹", "%",
    ],
    // combining marks, joiners, variation selectors, emoji sequences
    &[
        "\u{301}",
        "\u{308}",
        "\u{327}",
        "\u{20d0}",
        "\u{20e3}",
        "\u{fe0f}",
        "\u{200d}",
        "\u{200c}",
        "👩",
        "👨‍👩‍👧‍👦",
        "🏽",
        "🇩🇪",
        "🏴",
        "\u{e0067}",
        "❤",
        "❤️‍🔥",
        "a",
        "A",
        "e",
        "क",
        "\u{93f}",
        "\u{94d}",
        "ष",
        "\u{e31}",
        "\u{1d165}",
        " ",
        "!",
        "!!",
        "\n",
        "1",
    ],
    // unassigned, private and last code points; noncharacters
    &[
        "\u{378}",
        "\u{530}",
        "\u{e01}",
        "\u{e3b}",
        "\u{2fe0}",
        "\u{1bd00}",
        "\u{1faff}",
        "\u{1fb00}",
        "\u{323b0}",
        "\u{e000}",
        "\u{f8ff}",
        "\u{f0000}",
        "\u{10fffd}",
        "\u{10ffff}",
        "\u{ffff}",
        "\u{fdd0}",
        "\u{1c89}",
        "\u{a7dc}",
        "\u{1e5d0}",
        "a",
        "A",
        "'s",
        " ",
        "1",
    ],
    // what text is mostly made of
    &[
        "the",
        " quick",
        " brown",
        " fox",
        " jumps",
        ".",
        ",",
        " Tokenizer",
        " naïve",
        " über",
        " https://",
        "example",
        ".com",
        "\n\n",
        "    ",
        "return",
        " if",
        "(",
        ")",
        ";",
        "snake_case",
        "CamelCase",
        "HTTPServer",
        "x1",
        "0xFF",
        " 中文",
        "日本語",
        " 한국어",
        "привет",
        " мир",
        "مرحبا",
        "שלום",
        "नमस्ते",
        "สวัสดี",
        "Ελλάδα",
        "<|endoftext|>",
        "<|im_start|>",
    ],
    // unspaced scripts, for long pieces of many tokens
    &[
        "的",
        "一",
        "是",
        "不",
        "了",
        "在",
        "人",
        "有",
        "我",
        "他",
        "吾輩は",
        "猫",
        "である",
        "カタカナ",
        "ー",
        "。",
        "、",
        "안녕",
        "하세요",
        "ㅎㅎ",
        "ไม่",
        "ครับ",
        "မြန်မာ",
        "ខ្មែរ",
        "ປະເທດ",
        "\u{ff9e}",
        "ｶﾅ",
        "　",
    ],
    // letters, for pieces without sense
    &[
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v", "w", "x", "y", "z", "Q", "Z", "th", "er", "in", "ing",
    ],
];

/// A text of up to about `longest` fragments.
pub fn text(random: &mut Random, longest: usize) -> String {
    let length = 1 + random.below(longest);
    let mut text = String::new();
    let mut pool = random.pick(POOLS);
    for _ in 0..length {
        match random.below(40) {
            0 | 1 => pool = random.pick(POOLS),
            // any code point at all
            2 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            // one of a block that may be only partly assigned
            3 => text.extend(char::from_u32(random.below(0x3000) as u32)),
            // a run
            4 => {
                let fragment = random.pick(pool);
                let times = 1 + random.below(30);
                text.extend(std::iter::repeat_n(fragment, times));
            }
            _ => text.push_str(random.pick(pool)),
        }
    }
    text
}

/// The oracle of a vocabulary.
pub fn oracle(vocabulary: Vocabulary) -> &'static tiktoken_rs::CoreBPE {
    match vocabulary.name() {
        "o200k_base" => tiktoken_rs::o200k_base_singleton(),
        "cl100k_base" => tiktoken_rs::cl100k_base_singleton(),
        "p50k_base" => tiktoken_rs::p50k_base_singleton(),
        "r50k_base" => tiktoken_rs::r50k_base_singleton(),
        name => panic!("no oracle for {name}"),
    }
}

/// Compares ids, count and a chunked count with the oracle; panics with the text where they differ.
pub fn check(vocabulary: Vocabulary, text: &str) {
    let wanted = oracle(vocabulary).encode_ordinary(text);
    let mut ids = Vec::new();
    weir_tokens::encode(vocabulary, text, &mut ids);
    assert!(
        ids == wanted,
        "{}: other ids for {text:?}:\n ours {ids:?}\n oracle {wanted:?}",
        vocabulary.name()
    );
    let count = weir_tokens::count(vocabulary, text);
    assert!(
        count == wanted.len() as u64,
        "{}: counted {count}, not {} in {text:?}",
        vocabulary.name(),
        wanted.len()
    );
}

/// Compares a count of random chunks with the count of the whole; panics with the text and the seed.
pub fn check_chunks(vocabulary: Vocabulary, text: &str, random: &mut Random, longest: usize) {
    let seed = random.0;
    let wanted = weir_tokens::count(vocabulary, text);
    let mut counter = weir_tokens::Counter::new(vocabulary);
    let mut rest = text;
    while !rest.is_empty() {
        let mut cut = (1 + random.below(longest)).min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (chunk, tail) = rest.split_at(cut);
        counter.push(chunk);
        rest = tail;
        if random.below(16) == 0 {
            let (so_far, _) = text.split_at(text.len() - rest.len());
            let total = counter.total();
            let wanted = weir_tokens::count(vocabulary, so_far);
            assert!(
                total == wanted,
                "{}: {total}, not {wanted} so far, seed {seed}: {so_far:?}",
                vocabulary.name()
            );
        }
    }
    let total = counter.total();
    assert!(counter.settled() <= total, "settled more than all");
    assert!(total == wanted, "{}: {total}, not {wanted} in chunks, seed {seed}: {text:?}", vocabulary.name());
}
