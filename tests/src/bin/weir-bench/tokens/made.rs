//! Texts of each kind, all of them different: prose is [`crate::texts`]'.

use weir_tests::harness::repo_root;
use weir_tests::sim::rng::Rng;

use crate::texts::Texts;

pub const SMALL: usize = 4 << 10;
pub const LARGE: usize = 200 << 10;

/// Makes a text.
pub type Made = Box<dyn Fn(&mut Rng) -> String>;

/// Texts of 200 KB that a counter may take long for, by name.
pub fn hostile() -> [(&'static str, Made); 8] {
    let random = |letters: &'static str| {
        move |rng: &mut Rng| {
            let letters: Vec<char> = letters.chars().collect();
            let mut text = String::new();
            while text.len() < LARGE {
                text.push(letters[rng.below(letters.len())]);
            }
            text
        }
    };
    let run = |fragment: &'static str| {
        move |rng: &mut Rng| {
            // Not the same text twice.
            format!("{} {}", rng.below(1 << 30), fragment.repeat(LARGE / fragment.len()))
        }
    };
    [
        ("random letters", Box::new(random("abcdefghijklmnopqrstuvwxyz"))),
        ("a and b", Box::new(random("ab"))),
        ("symbols", Box::new(random("!#$%&()*+,-.:;<=>?@[]^_{|}~"))),
        ("====", Box::new(run("="))),
        ("spaces", Box::new(run(" "))),
        ("aaaa", Box::new(run("a"))),
        ("one character of Han", Box::new(run("中"))),
        (
            "random Han",
            Box::new(|rng| {
                let mut text = String::new();
                while text.len() < LARGE {
                    text.extend(char::from_u32(0x4E00 + rng.below(0x51FF) as u32));
                }
                text
            }),
        ),
    ]
}

/// Pieces of this repository's own code.
pub fn sources() -> Vec<String> {
    let mut folders =
        vec![repo_root().join("filters"), repo_root().join("control-plane"), repo_root().join("xtask")];
    let mut pieces = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                pieces.extend(lines.chunks(12).map(|lines| lines.concat()));
            }
        }
    }
    pieces.sort();
    pieces
}

pub fn code(pieces: &[String], bytes: usize, rng: &mut Rng) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&pieces[rng.below(pieces.len())]);
    }
    text
}

/// Sentences of characters, frequent ones more often; every second one with kana.
pub fn han(bytes: usize, rng: &mut Rng) -> String {
    const COMMON: &str = "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联";
    let common: Vec<char> = COMMON.chars().collect();
    let mut text = String::new();
    while text.len() < bytes {
        let japanese = rng.below(2) == 0;
        for _ in 0..rng.between(6, 24) {
            let place = rng.below(common.len()) * rng.below(common.len()) / common.len();
            let char = match rng.below(20) {
                0 => char::from_u32(0x4E00 + rng.below(0x51FF) as u32),
                1..9 if japanese => char::from_u32(0x3041 + rng.below(83) as u32),
                9..11 if japanese => char::from_u32(0x30A1 + rng.below(83) as u32),
                _ => Some(common[place]),
            };
            text.extend(char);
        }
        text.push(if rng.below(3) == 0 { '，' } else { '。' });
    }
    text
}

/// What is sent before anything is measured.
pub fn warm_up(rng: &mut Rng, count: usize) -> Vec<Vec<String>> {
    let (prose, sources) = (Texts::load(), sources());
    (0..count)
        .map(|at| match at % 8 {
            0 => vec![han(SMALL, rng)],
            1 => vec![code(&sources, 8 * SMALL, rng)],
            2 => (0..10).map(|_| prose.text(300, rng)).collect(),
            _ => vec![prose.text(SMALL, rng)],
        })
        .collect()
}
