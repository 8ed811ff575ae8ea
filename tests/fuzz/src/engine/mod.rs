//! The search: children of known inputs are run, those that reach new edges stay, and the first that breaks a promise
//! is made as small as it can be. One thread; time is the processor's, so a search that is paused or crowded out does
//! not say that it searched longer than it did.

mod coverage;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::{Target, corpus};

pub use coverage::edges;
pub use mutate::mutate;

/// How long and how large.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seconds of the processor's time.
    pub seconds: u64,
    /// Most bytes of a usual input.
    pub most: usize,
    /// Where the search begins.
    pub seed: u64,
}

/// What a search did.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs run.
    pub runs: u64,
    /// Edges, by how often they were taken, that were seen.
    pub features: usize,
    /// What reached something new, in the order of finding, the known inputs first.
    pub kept: Vec<Vec<u8>>,
    /// How many of them were known.
    pub known: usize,
    /// The greatest time a byte took in inputs of 8 KiB or more, in nanoseconds.
    pub slowest: u64,
    /// An input that breaks a promise, and which.
    pub finding: Option<(Vec<u8>, String)>,
}

/// What one run showed.
enum Outcome {
    Fine(Duration),
    Broken(String),
}

/// Where the latest panic was.
static PLACE: Mutex<String> = Mutex::new(String::new());
static RUNNING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static RUNS: AtomicU64 = AtomicU64::new(0);
/// Seconds after which a run counts as one that never ends.
const FOREVER: u32 = 30;

/// From now on panics are findings, not messages.
pub fn catch() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}: ", at.file(), at.line()));
        if let Ok(mut latest) = PLACE.lock() {
            *latest = place.unwrap_or_default();
        }
    }));
}

/// Runs one input; a promise that it breaks is the error.
pub fn check(target: &Target, input: &[u8]) -> Result<(), String> {
    match run(target, input) {
        Outcome::Fine(_) => Ok(()),
        Outcome::Broken(why) => Err(why),
    }
}

fn run(target: &Target, input: &[u8]) -> Outcome {
    let begun = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    match result {
        Ok(()) => Outcome::Fine(begun.elapsed()),
        Err(why) => {
            let text = why.downcast_ref::<String>().cloned();
            let text = text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let place = PLACE.lock().map(|place| place.clone()).unwrap_or_default();
            Outcome::Broken(format!("{place}{}", text.unwrap_or_else(|| "a panic without words".to_owned())))
        }
    }
}

/// As [`run`], and whether it took longer than a linear decoder may; of several tries the shortest counts, since a
/// crowded machine makes anything slow.
fn timed(target: &Target, input: &[u8]) -> Outcome {
    let allowed =
        Duration::from_millis(20) + Duration::from_nanos(target.nanos_per_byte) * input.len() as u32;
    let mut best = match run(target, input) {
        Outcome::Fine(took) => took,
        broken => return broken,
    };
    for _ in 0..4 {
        if best <= allowed {
            return Outcome::Fine(best);
        }
        if let Outcome::Fine(took) = run(target, input) {
            best = best.min(took);
        }
    }
    if best <= allowed {
        return Outcome::Fine(best);
    }
    Outcome::Broken(format!("{} bytes took {best:?}, more than {allowed:?}", input.len()))
}

/// Searches. Known inputs are the target's seeds and its file's.
pub fn search(target: &Target, options: &Options) -> Report {
    catch();
    watch();
    let mut random = Random::new(options.seed ^ 0x5bd1_e995);
    let mut seen = vec![0u64; (edges() * 8).div_ceil(64)];
    let mut report = Report::default();
    let mut known = (target.seeds)();
    known.extend(corpus::read(target.name));
    let mut grown = 0u64;
    let begun = cpu_seconds();
    for input in known {
        one(target, input, &mut seen, &mut report, true);
        if report.finding.is_some() {
            return report;
        }
    }
    report.known = report.kept.len();
    while report.runs % 256 != 0 || cpu_seconds() - begun < options.seconds as f64 {
        let child = child(target, options, &report.kept, &mut grown, &mut random);
        one(target, child, &mut seen, &mut report, false);
        if let Some((input, why)) = report.finding.take() {
            report.finding = Some(smaller(target, input, why));
            break;
        }
    }
    report
}

fn child(
    target: &Target,
    options: &Options,
    kept: &[Vec<u8>],
    grown: &mut u64,
    random: &mut Random,
) -> Vec<u8> {
    // The newest are tried most: what they opened is not searched yet.
    let newest = random.below(2) == 0;
    let pick = |random: &mut Random| match newest {
        true => kept.get(kept.len() - 1 - random.below(kept.len().min(30))),
        false => random.pick(kept),
    };
    let one = pick(random).map_or(&[][..], Vec::as_slice);
    let other = random.pick(kept).map_or(&[][..], Vec::as_slice);
    *grown += 1;
    if grown.is_multiple_of(200) {
        return mutate::grown(one, 65_536, random);
    }
    mutate(one, other, target.words, options.most, random)
}

/// Runs an input and keeps it if it reached something new; known ones stay anyhow where nothing is counted.
fn one(target: &Target, input: Vec<u8>, seen: &mut [u64], report: &mut Report, known: bool) {
    report.runs += 1;
    RUNS.store(report.runs, Relaxed);
    if let Ok(mut running) = RUNNING.lock() {
        running.clone_from(&input);
    }
    coverage::clear();
    let outcome = timed(target, &input);
    let mut new = 0;
    coverage::each(&mut |feature| {
        if let Some(word) = seen.get_mut(feature / 64)
            && *word >> (feature % 64) & 1 == 0
        {
            *word |= 1 << (feature % 64);
            new += 1;
        }
    });
    report.features += new;
    match outcome {
        Outcome::Broken(why) => report.finding = Some((input, why)),
        Outcome::Fine(took) => {
            if input.len() >= 8192 {
                report.slowest = report.slowest.max(took.as_nanos() as u64 / input.len() as u64);
            }
            // Great ones are for the clock; searched from they would crowd out the small.
            if (new > 0 && input.len() <= 8192) || (known && edges() == 0) {
                report.kept.push(input);
            }
        }
    }
}

/// The smallest input found that breaks something, by leaving out piece after piece.
fn smaller(target: &Target, mut input: Vec<u8>, mut why: String) -> (Vec<u8>, String) {
    let begun = Instant::now();
    let mut size = input.len() / 2;
    while size > 0 && begun.elapsed() < Duration::from_secs(60) {
        let mut at = 0;
        while at < input.len() {
            let end = (at + size).min(input.len());
            let less = [input.get(..at).unwrap_or_default(), input.get(end..).unwrap_or_default()].concat();
            match timed(target, &less) {
                Outcome::Broken(text) => (input, why) = (less, text),
                Outcome::Fine(_) => at += size,
            }
        }
        size /= 2;
    }
    (input, why)
}

/// Ends the program with the input on record when a run does not end.
fn watch() {
    std::thread::spawn(|| {
        let (mut last, mut since) = (0, 0);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = RUNS.load(Relaxed);
            since = if now == last { since + 1 } else { 0 };
            last = now;
            if since >= FOREVER {
                let input = RUNNING.lock().map(|input| corpus::escape(&input)).unwrap_or_default();
                eprintln!("a run does not end; its input:\n{input}");
                std::process::exit(3);
            }
        }
    });
}

/// Processor time of this program, in seconds; the wall's where the system does not tell.
fn cpu_seconds() -> f64 {
    static BEGUN: Mutex<Option<Instant>> = Mutex::new(None);
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    if let Some(nanos) = told.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()) {
        return nanos as f64 / 1e9;
    }
    let mut begun = BEGUN.lock().unwrap_or_else(|broken| broken.into_inner());
    begun.get_or_insert_with(Instant::now).elapsed().as_secs_f64()
}
