//! What the witness agent is asked to do, and what it tells the witness: the language of both.

use serde::{Deserialize, Serialize};

/// Names the witness's address in the agent's environment.
pub const WITNESS: &str = "CRASH_WITNESS";

/// Names the run in the environment of all that it starts, so that its processes can be told from any others.
pub const RUN: &str = "CRASH_RUN";

/// What a message asks for, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The session in which it is asked.
    pub session: String,
    /// The message's own id.
    pub message: String,
    /// Deltas to say.
    pub deltas: usize,
    /// Lines to add to the transcript between them.
    pub lines: usize,
    /// Bytes of text in each of these lines.
    pub bytes: usize,
    /// Between two deltas, in milliseconds.
    pub pause: u64,
    /// A file of the workspace to write in the middle.
    pub file: Option<String>,
    /// Whether to start a process that outlives the turn.
    pub daemon: bool,
    /// Lines to add to the transcript when the turn is over.
    pub afterwards: usize,
}

impl Work {
    /// A piece of the answer. No other message has it.
    pub fn delta(&self, number: usize) -> String {
        format!("{}#{number} ", self.message)
    }

    /// The beginning of the answer, so many deltas long.
    pub fn answer(&self, deltas: usize) -> String {
        (0..deltas).map(|number| self.delta(number)).collect()
    }

    /// What the file has afterwards if a process of that name writes it.
    pub fn file_content(&self, process: &str) -> String {
        format!("{} by {process}", self.message)
    }
}

/// What an agent says about what it did, before or right after it. It goes on when the witness has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// A process of the agent began.
    Began {
        /// Names the process, in all runs.
        process: String,
    },
    /// It read a message.
    Asked(Work),
    /// It is about to add a line to the transcript.
    Writing {
        /// The session.
        session: String,
        /// The line, without its newline.
        line: String,
    },
    /// The line is in the transcript on the sandbox's disk.
    Wrote {
        /// The session.
        session: String,
        /// The line, without its newline.
        line: String,
    },
    /// It is about to write a file.
    WritingFile {
        /// The session.
        session: String,
        /// Below the workspace.
        path: String,
        /// All that is in it.
        content: String,
    },
    /// The file is on the sandbox's disk.
    WroteFile {
        /// The session.
        session: String,
        /// Below the workspace.
        path: String,
        /// All that is in it.
        content: String,
    },
    /// It has answered a message.
    Finished {
        /// The message.
        message: String,
        /// Whether it was told to break off.
        interrupted: bool,
    },
}
