//! The simulated providers as a process, for `cargo xtask up` and for trying Weir by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Deserialize;
use weir_tests::sim::{anthropic, bedrock, openai, vllm};

/// Simulated vLLM, Amazon Bedrock, Anthropic and OpenAI servers.
#[derive(Parser)]
struct Options {
    /// Port of the vLLM server; 0 for any.
    #[arg(long)]
    vllm: Option<u16>,
    /// Port of the Bedrock server; 0 for any.
    #[arg(long)]
    bedrock: Option<u16>,
    /// Port of the Anthropic server; 0 for any.
    #[arg(long)]
    anthropic: Option<u16>,
    /// Port of the OpenAI server; 0 for any.
    #[arg(long)]
    openai: Option<u16>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// JSON file `{"vllm": {…}, "bedrock": {…}, "anthropic": {…}, "openai": {…}}` with the servers' configurations.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    vllm: vllm::Config,
    bedrock: bedrock::Config,
    anthropic: anthropic::Config,
    openai: openai::Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let file = match &options.config {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => File::default(),
    };
    let mut servers = Vec::new();
    if let Some(port) = options.vllm {
        let listen = format!("{}:{port}", options.address);
        let server = vllm::start(vllm::Config { listen, ..file.vllm }).await?;
        println!("vllm {}", server.url());
        servers.push(server);
    }
    if let Some(port) = options.bedrock {
        let listen = format!("{}:{port}", options.address);
        let server = bedrock::start(bedrock::Config { listen, ..file.bedrock }).await?;
        println!("bedrock {}", server.url());
        servers.push(server);
    }
    if let Some(port) = options.anthropic {
        let listen = format!("{}:{port}", options.address);
        let server = anthropic::start(anthropic::Config { listen, ..file.anthropic }).await?;
        println!("anthropic {}", server.url());
        servers.push(server);
    }
    if let Some(port) = options.openai {
        let listen = format!("{}:{port}", options.address);
        let server = openai::start(openai::Config { listen, ..file.openai }).await?;
        println!("openai {}", server.url());
        servers.push(server);
    }
    if servers.is_empty() {
        let options = "--vllm PORT, --bedrock PORT, --anthropic PORT, --openai PORT";
        return Err(format!("nothing to serve: give {options} or several").into());
    }
    println!("ready");
    let running = servers.into_iter().map(|s| tokio::spawn(s.forever())).collect::<Vec<_>>();
    tokio::signal::ctrl_c().await?;
    drop(running);
    Ok(())
}
