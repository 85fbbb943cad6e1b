//! `claude-agent-sdk`: the `claude` command as one long-lived process, spoken to over stream-json as Anthropic's Agent SDK does.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `options` | the options of a session, and when a change of one takes effect |
//! | `launch` | the command line, the environment and what is laid down |
//! | `profile` | a profile as files |
//! | `transcript` | where transcripts are, and how one is resumed |
//! | `wire`, `control` | the lines that the command prints, and those that are written to it |
//! | `driver` | what follows from each line |
//! | `import` | blocks from transcripts that come from elsewhere |

mod control;
mod driver;
mod import;
mod launch;
mod options;
mod profile;
mod report;
mod transcript;
mod wire;

use std::collections::BTreeMap;

use agent_host_session::event::Event;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::agent::{Architecture, Invalid, Launch, LaunchContext};
use agent_host_session::ports::sandbox::Layout;
use agent_host_session::record::{Options as SessionOptionValues, StreamName};
use bytes::Bytes;

pub use import::import;

/// How the operator has `claude` run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The program: a name to look for in the `PATH`, or a path.
    pub command: String,
    /// Arguments after the host's own.
    pub args: Vec<String>,
    /// Environment variables; they win over those of profiles and of the host.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { command: "claude".to_owned(), args: Vec::new(), env: Vec::new() }
    }
}

/// The architecture `claude-agent-sdk`.
#[derive(Clone, Debug, Default)]
pub struct ClaudeAgentSdk {
    options: Options,
}

impl ClaudeAgentSdk {
    /// Runs `claude` as `options` say.
    pub fn new(options: Options) -> Self {
        Self { options }
    }
}

impl Architecture for ClaudeAgentSdk {
    fn name(&self) -> &'static str {
        "claude-agent-sdk"
    }

    fn check_options(&self, options: &SessionOptionValues) -> Result<(), Invalid> {
        options::SessionOptions::parse(options).map(drop)
    }

    fn launch(&self, context: LaunchContext<'_>) -> Result<Launch, Invalid> {
        launch::launch(&self.options, context)
    }

    fn transcripts(&self, layout: &Layout) -> Option<RelativePath> {
        RelativePath::new(transcript::directory(layout)).ok()
    }

    fn recover(
        &self,
        agent_session_id: &str,
        stored: &BTreeMap<StreamName, Bytes>,
        files: &[(RelativePath, Bytes)],
    ) -> BTreeMap<StreamName, Bytes> {
        transcript::recover(agent_session_id, stored, files)
    }

    fn import(&self, transcripts: &BTreeMap<StreamName, Bytes>) -> Result<Vec<Event>, Invalid> {
        let events = import(transcripts);
        if events.iter().any(|event| matches!(event, Event::BlockCompleted { .. })) {
            Ok(events)
        } else {
            Err(Invalid("the transcript holds no conversation of Claude's".to_owned()))
        }
    }
}
