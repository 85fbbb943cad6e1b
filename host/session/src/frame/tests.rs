//! The golden form of every event: clients and hooks depend on it.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::block::{AssistantText, ToolStatus};
use crate::event::{SandboxState, SandboxStatus};
use crate::id::Epoch;
use crate::log::{EventLog, Limits};
use crate::metadata::Usage;
use crate::ports::hooks::NoHooks;

fn session() -> SessionId {
    SessionId::new("s1").unwrap()
}

fn log() -> EventLog {
    EventLog::new(session(), Epoch(1), Limits::default(), Arc::new(NoHooks))
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

fn options() -> Options {
    Options::from_iter([("model".to_owned(), json!("x"))])
}

#[tokio::test]
async fn frames_have_their_golden_form() {
    let block = json!({"type": "assistant_text", "id": "b1", "timestamp": "2026-11-22T06:47:19.110Z", "content": "hi", "model": "m"});
    let subagent = ConversationId::new("sub").unwrap();
    let file_json = json!({"path": "a/b", "size": 3, "sha256": "ab", "createdAt": 1, "modifiedAt": 2});
    let with = |content: &str, encoding: &str| {
        let mut file = file_json.clone();
        file["content"] = json!(content);
        file["encoding"] = json!(encoding);
        file
    };
    let conversation = ConversationId::main;
    let metadata = Metadata {
        usage: Some(Usage { input_tokens: 1, output_tokens: 2, ..Usage::default() }),
        cost_usd: Some(0.5),
        model: Some("m".into()),
        ..Metadata::default()
    };
    let update = BlockUpdate { status: Some(ToolStatus::Running), input: Some(json!({"a": 1})), ..BlockUpdate::default() };
    let cases = [
        (
            Event::BlockStarted { conversation: conversation(), block: text("hi") },
            "session:block:start",
            json!({"conversationId": "main", "block": block}),
        ),
        (
            Event::BlockDelta { conversation: conversation(), block_id: block_id(), delta: "h\"\u{1f4a1}\n".into() },
            "session:block:delta",
            json!({"conversationId": "main", "blockId": "b1", "delta": "h\"\u{1f4a1}\n"}),
        ),
        (
            Event::BlockUpdated { conversation: conversation(), block_id: block_id(), update },
            "session:block:update",
            json!({"conversationId": "main", "blockId": "b1", "updates": {"input": {"a": 1}, "status": "running"}}),
        ),
        (
            Event::BlockCompleted { conversation: subagent.clone(), block: text("hi") },
            "session:block:complete",
            json!({"conversationId": "sub", "blockId": "b1", "block": block}),
        ),
        (
            Event::BlockRemoved { conversation: conversation(), block_id: block_id() },
            "session:block:removed",
            json!({"conversationId": "main", "blockId": "b1"}),
        ),
        (
            Event::SubagentDiscovered { id: subagent.clone(), name: Some("helper".into()) },
            "session:subagent:discovered",
            json!({"subagent": {"id": "sub", "name": "helper", "blocks": []}}),
        ),
        (
            Event::SubagentCompleted { id: subagent, status: SubagentStatus::Failed },
            "session:subagent:completed",
            json!({"subagentId": "sub", "status": "failed"}),
        ),
        (
            Event::MetadataUpdated { conversation: conversation(), metadata },
            "session:metadata:update",
            json!({"conversationId": "main", "metadata": {
                "usage": {"inputTokens": 1, "outputTokens": 2, "cacheReadInputTokens": 0, "cacheCreationInputTokens": 0},
                "costUSD": 0.5, "model": "m",
            }}),
        ),
        (Event::OptionsUpdated { options: options() }, "session:options:update", json!({"options": {"model": "x"}})),
        (
            Event::FileCreated { file: file("a/b", Some("ab")), content: Some(Bytes::from_static("ü!".as_bytes())) },
            "session:file:created",
            json!({"file": with("ü!", "utf-8")}),
        ),
        (
            Event::FileModified { file: file("a/b", Some("ab")), content: Some(Bytes::from_static(&[0xff, 0, 1])) },
            "session:file:modified",
            json!({"file": with("/wAB", "base64")}),
        ),
        (Event::FileModified { file: file("a/b", Some("ab")), content: None }, "session:file:modified", json!({"file": file_json})),
        (Event::FileDeleted { path: RelativePath::new("a/b").unwrap() }, "session:file:deleted", json!({"path": "a/b"})),
        (Event::StatusChanged { runtime: runtime() }, "session:status", json!({"runtime": runtime_json()})),
        (
            Event::Emitted { name: "hook:guard:\"over\"".into(), data: json!({"cost": 5}) },
            "hook:guard:\"over\"",
            json!({"data": {"cost": 5}}),
        ),
        (
            Event::Failed { code: "SANDBOX_FAILED".into(), message: "no".into() },
            "error",
            json!({"code": "SANDBOX_FAILED", "message": "no"}),
        ),
    ];
    let log = log();
    let mut subscription = log.subscribe();
    for (event, name, mut data) in cases {
        assert!(event.is_public(), "{name}");
        log.publish([event]);
        let published = subscription.next().await.unwrap().remove(0);
        data["sessionId"] = json!("s1");
        let golden = json!({"event": name, "data": data, "seq": published.sequence.0});
        let frame = published.frame(&session());
        assert_eq!(serde_json::from_str::<Value>(frame.text()).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Value>(frame.data()).unwrap(), data, "{name}: the data alone");
        let mut line = Vec::new();
        published.write_line(&mut line).unwrap();
        let again = Published::read_line(&line).unwrap();
        assert_eq!((again.sequence, &again.event), (published.sequence, &published.event), "{name}: from an archive");
        assert_eq!(again.frame(&session()).text(), frame.text(), "{name}: from an archive");
    }
}

#[tokio::test]
async fn a_frame_is_written_once_for_all() {
    let log = log();
    let (mut one, mut two) = (log.subscribe(), log.subscribe());
    log.publish([Event::BlockDelta { conversation: ConversationId::main(), block_id: block_id(), delta: "x".into() }]);
    let (first, second) = (one.next().await.unwrap().remove(0), two.next().await.unwrap().remove(0));
    assert!(Arc::ptr_eq(first.frame(&session()).text(), second.frame(&session()).text()));
}
