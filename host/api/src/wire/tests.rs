//! The golden form of sessions: clients depend on it.

use std::sync::Arc;

use agent_host_session::block::{AssistantText, Block, ToolStatus, ToolUse};
use agent_host_session::event::{SandboxState, SandboxStatus, SubagentStatus};
use agent_host_session::id::{BlockId, ConversationId, Sequence};
use agent_host_session::metadata::Metadata;
use agent_host_session::path::RelativePath;
use agent_host_session::record::{FileInfo, Options};
use agent_host_session::state::{SubagentView, View};
use serde_json::{Value, json};

use super::*;
use crate::session::{PIECE_BYTES, SessionWriter};

fn session() -> SessionId {
    SessionId::new("s1").unwrap()
}

fn block_id() -> BlockId {
    BlockId::new("b1").unwrap()
}

fn text(content: &str) -> Arc<Block> {
    let timestamp = Timestamp::from_millis(1_795_330_039_110);
    Arc::new(Block::AssistantText(AssistantText { id: block_id(), timestamp, content: content.into(), model: Some("m".into()) }))
}

fn file(path: &str, sha256: Option<&str>) -> FileInfo {
    FileInfo {
        path: RelativePath::new(path).unwrap(),
        size: 3,
        sha256: sha256.map(str::to_owned),
        created_at: Timestamp::from_millis(1),
        modified_at: Timestamp::from_millis(2),
    }
}

fn runtime() -> Runtime {
    let sandbox = SandboxState {
        sandbox_id: Some("sb".into()),
        status: SandboxStatus::Ready,
        status_message: None,
        restart_count: 0,
        last_health_check: Some(Timestamp::from_millis(9)),
    };
    Runtime { is_loaded: true, sandbox: Some(sandbox), running_message_id: None, queued_messages: 0 }
}

fn runtime_json() -> Value {
    json!({
        "isLoaded": true, "queuedMessages": 0,
        "sandbox": {"sandboxId": "sb", "status": "ready", "restartCount": 0, "lastHealthCheck": 9},
    })
}

fn record() -> SessionRecord {
    SessionRecord {
        id: session(),
        created_at: Timestamp::from_millis(5),
        last_activity: Timestamp::from_millis(6),
        profile: ProfileId::new("default").unwrap(),
        architecture: "echo".into(),
        name: None,
        options: Options::from_iter([("model".to_owned(), json!("x"))]),
        origin: None,
    }
}

#[test]
fn lists_have_their_golden_form() {
    let listed = Listed { record: record(), runtime: runtime() };
    let item = json!({
        "sessionId": "s1", "type": "echo", "agentProfileReference": "default", "createdAt": 5, "lastActivity": 6, "runtime": runtime_json(),
    });
    let page = ListPage { sessions: vec![(&listed).into()], next_cursor: Some("c") };
    assert_eq!(serde_json::to_value(&page).unwrap(), json!({"sessions": [item], "nextCursor": "c"}));
    let gone = session();
    let changes = ListChanges { changed: vec![(&listed).into()], deleted: vec![&gone] };
    assert_eq!(serde_json::to_value(&changes).unwrap(), json!({"changed": [item], "deleted": ["s1"]}));
}

fn view(blocks: Vec<Arc<Block>>) -> View {
    View {
        record: SessionRecord { name: Some("n".into()), ..record() },
        runtime: runtime(),
        blocks,
        subagents: vec![
            SubagentView {
                id: ConversationId::new("sub").unwrap(),
                name: Some("helper".into()),
                status: Some(SubagentStatus::Completed),
                blocks: vec![text("a"), text("b")],
                metadata: Metadata::default(),
            },
            SubagentView {
                id: ConversationId::new("sub2").unwrap(),
                name: None,
                status: None,
                blocks: Vec::new(),
                metadata: Metadata::default(),
            },
        ],
        files: vec![file("a", Some("ab")), file("large", None)],
        metadata: Metadata { turns: Some(1), ..Metadata::default() },
        sequence: Sequence(77),
    }
}

async fn written(view: View) -> (String, usize) {
    let mut writer = SessionWriter::new(view);
    let (mut text, mut pieces) = (String::new(), 0);
    while let Some(piece) = writer.piece().await.unwrap() {
        text.push_str(&piece);
        pieces += 1;
    }
    (text, pieces)
}

#[tokio::test]
async fn a_session_has_its_golden_form() {
    let tool = Block::ToolUse(ToolUse {
        id: block_id(),
        timestamp: Timestamp::from_millis(0),
        tool_name: "Bash".into(),
        tool_use_id: "t".into(),
        input: json!({"command": "true"}),
        status: ToolStatus::Success,
        display_name: None,
        description: None,
    });
    let (json, pieces) = written(view(vec![text("hi"), Arc::new(tool)])).await;
    let block = |content: &str| json!({"type": "assistant_text", "id": "b1", "timestamp": "2026-11-22T06:47:19.110Z", "content": content, "model": "m"});
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        json!({
            "sessionId": "s1", "type": "echo", "agentProfileReference": "default", "sessionOptions": {"model": "x"}, "name": "n",
            "createdAt": 5, "lastActivity": 6, "metadata": {"turns": 1}, "runtime": runtime_json(),
            "blocks": [
                block("hi"),
                {
                    "type": "tool_use", "id": "b1", "timestamp": "1970-01-01T00:00:00.000Z", "toolName": "Bash", "toolUseId": "t",
                    "input": {"command": "true"}, "status": "success",
                },
            ],
            "workspaceFiles": [
                {"path": "a", "size": 3, "sha256": "ab", "createdAt": 1, "modifiedAt": 2},
                {"path": "large", "size": 3, "createdAt": 1, "modifiedAt": 2},
            ],
            "subagents": [
                {"id": "sub", "name": "helper", "status": "completed", "metadata": {}, "blocks": [block("a"), block("b")]},
                {"id": "sub2", "metadata": {}, "blocks": []},
            ],
            "seq": 77,
        })
    );
    assert_eq!(pieces, 1);
}

#[tokio::test]
async fn a_large_session_is_written_in_small_pieces() {
    let block = text(&"x".repeat(1000));
    let blocks = vec![block; 10_000];
    let (json, pieces) = written(view(blocks)).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["blocks"].as_array().unwrap().len(), 10_000);
    assert!(pieces > json.len() / (PIECE_BYTES + 2000), "{pieces} pieces");
}
