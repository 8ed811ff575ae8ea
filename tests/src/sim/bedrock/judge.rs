//! The validating judge: botocore (or another vendor's SDK) in a Python process, asked over its standard streams.
//!
//! Questions are answered in order, so any number may be under way. A judge that cannot be started or that
//! dies is an error, never a silent pass.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

type Question = (String, oneshot::Sender<String>);

/// A running judge; it ends with this value.
pub struct Judge {
    questions: mpsc::UnboundedSender<Question>,
    _child: Child,
}

fn interpreter() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_PYTHON") {
        return path.into();
    }
    let venv = crate::harness::paths::weir().join("venv/bin/python");
    if venv.exists() { venv } else { "python3".into() }
}

impl Judge {
    /// Bedrock's judge.
    pub async fn start() -> io::Result<Self> {
        Self::of("botocore_judge.py").await
    }

    /// Starts a judge of `tests/judges` and asks it for its version. It needs Python with the SDK that judges:
    /// `WEIR_PYTHON`, else the environment that `cargo xtask setup` makes, else `python3`.
    pub async fn of(script: &str) -> io::Result<Self> {
        let script = crate::harness::repo_root().join("tests/judges").join(script);
        let python = interpreter();
        let mut child = Command::new(&python)
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| io::Error::other(format!("{}: {e}", python.display())))?;
        let mut input = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let (questions, mut asked) = mpsc::unbounded_channel::<Question>();
        let (waiting, mut next) = mpsc::unbounded_channel::<oneshot::Sender<String>>();
        tokio::spawn(async move {
            while let Some((line, answer)) = asked.recv().await {
                if waiting.send(answer).is_err() || input.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(answer) = next.recv().await else { return };
                let _ = answer.send(line);
            }
        });
        let judge = Self { questions, _child: child };
        judge.ask(json!({"op": "about"})).await.map_err(|e| {
            let hint =
                "the judge needs Python with botocore and anthropic (WEIR_PYTHON, or cargo xtask setup)";
            io::Error::other(format!("{hint}: {e}"))
        })?;
        Ok(judge)
    }

    /// One question; the operations are in `tests/judges/botocore_judge.py`.
    pub async fn ask(&self, question: Value) -> Result<Value, String> {
        let (sender, receiver) = oneshot::channel();
        let gone = || "the judge has ended".to_owned();
        self.questions.send((format!("{question}\n"), sender)).map_err(|_| gone())?;
        let line = receiver.await.map_err(|_| gone())?;
        let mut answer: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}
