//! An event hook that is a policy: tools and messages that are denied, and a budget for each session.
//!
//! # Configuration
//!
//! | key | what it is | default |
//! | --- | --- | --- |
//! | `deny_tools` | Tools that the agent may not use, a rule a line; see below. | none |
//! | `deny_messages` | Regular expressions, one a line. A message whose text one of them finds is not accepted. | none |
//! | `max_cost_usd` | What a session may cost, in US dollars, as the agent program estimates it. | no limit |
//! | `max_tokens` | Tokens that a session may use: those that its models read and wrote, and what they put into the cache. What they read from the cache does not count: it is the same text again with each request. | no limit |
//! | `protect_agent_files` | Whether to deny that file tools write where `claude` finds commands to run; see below. | `true` |
//!
//! What is not known does not happen: if the hook fails to decide, the message or the tool is denied.
//!
//! # Grants
//!
//! None.
//!
//! ```toml
//! [[hooks]]
//! name = "guard"
//! component = "examples/hooks/target/wasm32-wasip2/release/hook_guard.wasm"
//!
//! [hooks.config]
//! max_cost_usd = "5"
//! deny_tools = '''
//! WebFetch, WebSearch
//! mcp__github__*
//! Bash.command: \bgit\s+push\b
//! Write.file_path, Edit.file_path: (^|/)\.env$
//! # A command that names them; see what cannot be prevented.
//! Bash.command: \.claude\b
//! '''
//! deny_messages = '''
//! (?i)\binternal use only\b
//! '''
//! ```
//!
//! # Rules for tools
//!
//! `TOOLS` denies tools whatever they are to do, `TOOLS: EXPRESSION` if the expression finds something in their input.
//!
//! - `TOOLS` are names as the agent knows them, separated by commas; `*` at the end stands for any rest. Case counts.
//! - `TOOL.FIELD` looks into that field of the input alone: `Write.file_path`. Without it all fields are looked into.
//! - The expression has the syntax of the [`regex`](https://docs.rs/regex/latest/regex/#syntax) crate. It is put to each text, number and truth value in the input on its own,
//!   however deep, so that `^` and `$` are the beginning and the end of one of them. `(?i)` at its beginning ignores case.
//! - A line that begins with `#` is a comment.
//!
//! # The budget
//!
//! When a session has used its budget, the running turn is interrupted, the conversation is told why, once, and from then on its messages and tools are denied. An operator
//! who raises the limit sets it free again.
//!
//! The host learns what a turn has cost when the turn ends. A session can thus exceed its budget by one turn; who wants to bound that as well gives sessions
//! the options `maxBudgetUsd` or `maxTurns`, which the agent program itself keeps to. Messages that were accepted before the budget was used wait for their
//! turns: each is interrupted when it begins. An agent that reports no cost costs nothing here, for which `max_tokens` is there.
//!
//! # What cannot be prevented
//!
//! The guard decides on uses of tools as the agent announces them. It does not see what a tool then does.
//!
//! - **A `Bash` command can write any file and start any program**, in as many spellings as a shell has: an expression over commands stops mistakes and
//!   honest agents, not one that means to get around it. What must not happen has to be impossible in the sandbox: no network, no key, no writable file.
//! - `claude` runs commands of its own accord that it finds in files, and asks nobody: hooks in `.claude/settings.json`, `.claude/settings.local.json` and
//!   the same in its home directory, which it takes up at its next start and, if the file was there, at once; commands in the texts of skills and slash commands. So an agent that may
//!   write these files can have anything run past the guard. With `protect_agent_files`, `Write`, `Edit`, `MultiEdit` and `NotebookEdit` are denied for `settings*.json` and
//!   for what is in `skills`, `commands` and `agents` below any directory `.claude`. By `Bash`, an MCP server's tool or a link with another name they can be written all the same.
//!   (Checked with version 2.1.330, in which such hooks cannot overrule a denial of the guard, and `disableAllHooks` does not switch it off.)
//! - A message that passes `deny_messages` in other words, in an image, or in a file of the workspace.

#![forbid(unsafe_code)]

mod agent_files;
mod budget;
mod policy;
mod rules;
mod sessions;

use agent_host_hook::{Config, Event, Hook, HookInfo, MessageDraft, Result, ToolDraft, Verdict, export_hook};

use crate::policy::Policy;
use crate::sessions::Host;

/// A policy for tools, messages and costs.
pub struct Guard(Policy<Host>);

export_hook!(Guard);

impl Hook for Guard {
    fn open(config: &Config) -> Result<Self> {
        Policy::new(config, Host).map(Self)
    }

    fn info(&self) -> HookInfo {
        self.0.info()
    }

    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        self.0.on_events(&events)
    }

    fn before_message(&mut self, draft: MessageDraft) -> Result<Verdict> {
        self.0.before_message(&draft)
    }

    fn before_tool_use(&mut self, draft: ToolDraft) -> Result<Verdict> {
        self.0.before_tool_use(&draft)
    }
}
