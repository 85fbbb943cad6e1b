//! `fake-model-api`: the scripted model API as a program, for people who follow the README by hand.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use fake_model_api::{ModelApi, Rules, Scenarios};

/// A scripted Anthropic Messages API. It understands prompts by their first word: text, think, write, bash, fail, unknown-tool, subagent,
/// two-subagents, slow, overloaded, unauthorized, bad-request, break, sse-error, history, big. Any other prompt is said back.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen. It answers anyone who can reach it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// A JSON file with replies of your own: a list of {"prompt": BEGINNING, "replies": [{"content": [...]}, ...]}.
    #[arg(long, value_name = "FILE.json")]
    script: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let listening = || format!("failed to listen on {}", arguments.listen);
    let api = match &arguments.script {
        None => ModelApi::start_at(arguments.listen, Scenarios).with_context(listening)?,
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("failed to read the script {}", path.display()))?;
            let rules = Rules::parse(&text).with_context(|| format!("failed to read the script {}", path.display()))?;
            ModelApi::start_at(arguments.listen, rules).with_context(listening)?
        }
    };
    println!("listening on {}", api.base_url());
    println!("for claude: ANTHROPIC_BASE_URL={} ANTHROPIC_API_KEY=any-key claude", api.base_url());
    api.wait();
    Ok(())
}
