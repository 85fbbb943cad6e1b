//! The log on standard error; `RUST_LOG` says what is in it.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::choice::LogFormat;

/// What a host logs where `RUST_LOG` says nothing else.
pub const OF_HOST: &str = "info";

/// What a command logs whose output is something else.
pub const OF_COMMAND: &str = "warn";

/// Starts logging: what `RUST_LOG` says, or `filter`.
///
/// # Errors
/// If `RUST_LOG` cannot be understood.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) => EnvFilter::try_new(&directives).with_context(|| format!("invalid RUST_LOG {directives:?}"))?,
        Err(_) => EnvFilter::new(filter),
    };
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init()
        }
        LogFormat::Json => registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    }
    .context("failed to start the log")
}
