//! `echo`: a shell program that is laid into the sandbox and run there like any agent, for trying the whole path without a key or a network.
//!
//! It says what it is told, word by word. On `write NAME TEXT` it writes a file in the workspace, shows that as the use of a tool, and says so.
//!
//! | option | value | a change takes effect |
//! | --- | --- | --- |
//! | `delayMs` | whole number from 0 to 60,000: milliseconds between words | with the next message |
//!
//! The program cannot be stopped in the middle of a message. When a turn is interrupted, its blocks end at once, and the turn when the program has
//! come to its end; what it says until then is dropped.

mod driver;
mod encoding;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_host_session::event::Event;
use agent_host_session::ports::agent::{Architecture, Invalid, Launch, LaunchContext};
use agent_host_session::ports::sandbox::Command;
use agent_host_session::record::{Options, StreamName};
use bytes::Bytes;

use self::driver::EchoDriver;
use crate::place;

/// The program.
const SCRIPT: &str = include_str!("echo.sh");
/// Where it is laid, below the home directory.
const SCRIPT_PATH: &str = ".agent-host/echo.sh";
/// What stands for the model's name.
const MODEL: &str = "echo";
/// The one tool, named as other agents name theirs.
const TOOL: &str = "Write";
/// The longest pause between words, in milliseconds: long enough to look at anything, and a message of some words still ends.
const MAX_DELAY_MS: u64 = 60_000;

/// The architecture `echo`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Architecture for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn check_options(&self, options: &Options) -> Result<(), Invalid> {
        delay_ms(options).map(drop)
    }

    fn launch(&self, context: LaunchContext<'_>) -> Result<Launch, Invalid> {
        let delay_ms = delay_ms(context.options)?;
        let mut files = vec![place::home(SCRIPT_PATH, SCRIPT)?];
        files.extend(place::workspace(context.profile));
        let env: BTreeMap<String, String> = context.profile.environment_variables.clone();
        let command = Command {
            program: "/bin/sh".to_owned(),
            args: vec![format!("{}/{SCRIPT_PATH}", context.layout.home)],
            env: env.into_iter().collect(),
        };
        Ok(Launch { files, command, driver: Box::new(EchoDriver::new(Arc::clone(&context.environment), delay_ms, context.asks_tools)) })
    }

    fn import(&self, _transcripts: &BTreeMap<StreamName, Bytes>) -> Result<Vec<Event>, Invalid> {
        Err(Invalid("echo leaves no transcripts".to_owned()))
    }
}

/// The pause between words. The error names the option that is wrong.
fn delay_ms(options: &Options) -> Result<u32, Invalid> {
    let mut delay_ms = 0;
    for (name, value) in options {
        match name.as_str() {
            "delayMs" if value.is_null() => {}
            "delayMs" => {
                let millis = value.as_u64().filter(|millis| *millis <= MAX_DELAY_MS).and_then(|millis| millis.try_into().ok());
                delay_ms = millis.ok_or_else(|| Invalid(format!("option {name:?} must be a whole number from 0 to {MAX_DELAY_MS}")))?;
            }
            _ => return Err(Invalid(format!("unknown option {name:?} for echo"))),
        }
    }
    Ok(delay_ms)
}
