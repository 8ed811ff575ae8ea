//! `bench redaction`: how well and how fast texts are searched, beside Presidio's pattern recognisers on the same
//! texts, and what that costs in Envoy.

use std::process::Command;

use crate::paths;
use crate::process::{self, Context, Result, cargo, make_dir, run_quietly, say, succeeds};

/// Exact versions, so that two runs are compared with the same thing.
const PACKAGES: [&str; 2] = ["presidio-analyzer==2.2.366", "spacy==3.8.18"];
const SCRIPT: &str = include_str!("redaction/presidio.py");
/// Says which labels are wrong, by facts that no detector is asked for.
const LABELS: &str = include_str!("redaction/labels.py");

/// Runs both; `args` go to the program, such as `--misses`.
pub fn bench(args: &[String]) -> Result {
    say("building the benchmark");
    let program = |args: &[String]| {
        let mut command = cargo();
        command
            .args(["run", "--release", "--quiet", "-p", "weir-pii", "--example", "redaction", "--"])
            .args(args);
        command
    };
    let folder = paths::weir().join("presidio");
    make_dir(&folder)?;
    let texts = program(&["--texts".to_owned()]).output().context("cannot run the benchmark")?;
    let mut all = args.to_vec();
    if texts.stdout.is_empty() {
        say("no labelled texts beside the project: nothing to compare");
    } else {
        let python = folder.join("venv/bin/python");
        if !succeeds(Command::new(&python).args(["-c", "import presidio_analyzer"])) {
            say("installing Presidio in an environment of its own");
            run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
            run_quietly(&mut pip)?;
        }
        say("asking Presidio");
        let (asked, answers) = (folder.join("texts.jsonl"), folder.join("answers.jsonl"));
        std::fs::write(&asked, &texts.stdout).context("cannot write the texts")?;
        let mut presidio = Command::new(&python);
        presidio.args(["-c", SCRIPT]);
        presidio.stdin(std::fs::File::open(&asked).context("cannot read the texts")?);
        presidio.stdout(std::fs::File::create(&answers).context("cannot write the answers")?);
        process::run(&mut presidio)?;
        all.push(answers.display().to_string());
    }
    process::run(&mut program(&all))?;
    if !texts.stdout.is_empty() {
        println!(
            "\n### errors in the labels, which are left as they are: text (SHA-256), from, to, entity, why\n"
        );
        let data = paths::root().join("../shared/data");
        process::run(Command::new("python3").args(["-c", LABELS]).arg(data))?;
    }
    println!("\n### time, in Envoy\n");
    crate::bench::in_envoy(&["redaction".to_owned()])
}
