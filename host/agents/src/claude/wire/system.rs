//! Lines of the type `system`: what the command says of itself, of its subagents and of the conversation.

use std::borrow::Cow;

use serde::Deserialize;

/// A `system` line, by its `subtype`.
#[derive(Debug)]
pub(in crate::claude) enum System {
    Init(Init),
    StateChanged(StateChanged),
    TaskStarted(TaskStarted),
    TaskProgress(TaskProgress),
    TaskUpdated(TaskUpdated),
    TaskNotification(TaskNotification),
    ApiRetry(ApiRetry),
    CompactBoundary(CompactBoundary),
    /// `informational` and `model_refusal_*`: a text for the user.
    Notice(Notice),
    PermissionDenied(PermissionDenied),
    TitleChanged(TitleChanged),
    Unknown,
}

#[derive(Deserialize)]
struct SystemHead<'a> {
    #[serde(borrow)]
    subtype: Cow<'a, str>,
}

impl System {
    /// Reads a line of the type `system`.
    pub(in crate::claude) fn parse(line: &str) -> serde_json::Result<Self> {
        Ok(match &*serde_json::from_str::<SystemHead<'_>>(line)?.subtype {
            "init" => Self::Init(serde_json::from_str(line)?),
            "session_state_changed" => Self::StateChanged(serde_json::from_str(line)?),
            "task_started" => Self::TaskStarted(serde_json::from_str(line)?),
            "task_progress" => Self::TaskProgress(serde_json::from_str(line)?),
            "task_updated" => Self::TaskUpdated(serde_json::from_str(line)?),
            "task_notification" => Self::TaskNotification(serde_json::from_str(line)?),
            "api_retry" => Self::ApiRetry(serde_json::from_str(line)?),
            "compact_boundary" => Self::CompactBoundary(serde_json::from_str(line)?),
            "informational" | "model_refusal_no_fallback" | "model_refusal_fallback" => Self::Notice(serde_json::from_str(line)?),
            "permission_denied" => Self::PermissionDenied(serde_json::from_str(line)?),
            "session_title_changed" => Self::TitleChanged(serde_json::from_str(line)?),
            _ => Self::Unknown,
        })
    }
}

/// The beginning of a turn.
#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Init {
    pub session_id: String,
    pub model: Option<String>,
    pub tools: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct StateChanged {
    /// `running`, `requires_action` or `idle`.
    pub state: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskStarted {
    pub task_id: String,
    /// `local_agent` is a subagent; `local_bash` is a command that takes long.
    pub task_type: Option<String>,
    pub tool_use_id: Option<String>,
    pub parent_task_id: Option<String>,
    pub subagent_type: Option<String>,
    pub description: Option<String>,
    pub prompt: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskProgress {
    pub task_id: String,
    pub usage: Option<TaskUsage>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskUsage {
    pub duration_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskUpdated {
    pub task_id: String,
    pub patch: TaskPatch,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskPatch {
    pub error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TaskNotification {
    pub task_id: String,
    /// `completed`, `failed` or `stopped`.
    pub status: String,
    /// The subagent's whole report; of one that was stopped, only its description.
    pub summary: Option<String>,
    pub usage: Option<TaskUsage>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct ApiRetry {
    pub error_status: Option<u16>,
    pub error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct CompactBoundary {
    pub compact_metadata: Option<CompactMetadata>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct CompactMetadata {
    pub trigger: Option<String>,
    pub pre_tokens: Option<u64>,
    pub post_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct Notice {
    pub content: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct PermissionDenied {
    pub tool_name: String,
    pub tool_use_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::claude) struct TitleChanged {
    pub title: String,
}
