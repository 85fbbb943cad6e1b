//! Uses of tools that hooks decide on: what the program is told to ask, what it asks, and what it is answered.

use agent_host_session::block::Block;
use agent_host_session::event::{Event, RecordLine, TurnOutcome};
use agent_host_session::id::{ConversationId, Epoch};
use agent_host_session::ports::agent::{Asked, Output};
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::time::Timestamp;
use serde_json::{Value, json};

use crate::support::{Capture, Start, fold, main_blocks, outcomes, summary, written};

const CAPTURES: [&str; 6] = ["hook_allow", "hook_deny", "hook_interrupt", "hook_midturn", "hook_replace", "hook_subagent"];

fn asked(outputs: &[Output]) -> Vec<Asked> {
    let asked = |output: &Output| match output {
        Output::Asked(asked) => Some(asked.clone()),
        _ => None,
    };
    outputs.iter().filter_map(asked).collect()
}

fn hooks() -> Value {
    json!({"PreToolUse": [{"hookCallbackIds": ["before-tool-use"], "onFailure": "block", "timeout": 86400}]})
}

#[test]
fn it_is_told_to_ask_only_if_somebody_decides_and_when_that_changes() {
    for asks_tools in [false, true] {
        let mut driver = Start { asks_tools, ..Start::default() }.claude();
        let mut out = Vec::new();
        driver.start(&mut out);
        driver.ask_tools(asks_tools, &mut out);
        let first = written(&out);
        assert_eq!(first.len(), 1, "what is known is not told again");
        assert_eq!(first[0]["request"]["hooks"], if asks_tools { hooks() } else { Value::Null });
        driver.ask_tools(!asks_tools, &mut out);
        let then = written(&out).remove(1);
        assert_eq!(then["request"]["hooks"], if asks_tools { json!({}) } else { hooks() });
        assert_eq!(then["request"]["forwardSubagentText"], true, "the rest stays as it is");
        assert_ne!(then["request_id"], "initialize", "its answer does not make the agent ready");
    }
}

#[test]
fn a_command_that_cannot_begin_to_ask_is_started_anew() {
    // 2.1.197 takes a second `initialize` and says nothing of hooks; 2.1.330 says that they are applied.
    for (response, is_outdated) in
        [(json!({"pid": 1}), true), (json!({"hooks_applied": false}), true), (json!({"hooks_applied": true}), false)]
    {
        let mut driver = Start::default().claude();
        let mut out = Vec::new();
        driver.start(&mut out);
        driver.ask_tools(true, &mut out);
        let request = written(&out).remove(1);
        let answer = json!({"subtype": "success", "request_id": request["request_id"], "response": response});
        driver.line(json!({"type": "control_response", "response": answer}).to_string().as_bytes(), &mut out);
        assert_eq!(out.contains(&Output::Outdated), is_outdated, "{response}");
    }
}

#[test]
fn the_answers_are_those_that_the_program_was_given() {
    for name in CAPTURES {
        let capture = Capture::load(name);
        let written = written(&capture.outputs());
        let answers = written.iter().map(|line| &line["response"]).filter(|response| response["subtype"] == "success");
        let answers: Vec<_> =
            answers.map(|response| (response["request_id"].as_str().unwrap().to_owned(), response["response"].clone())).collect();
        assert_eq!(answers.into_iter().collect::<std::collections::BTreeMap<_, _>>(), capture.answers, "{name}");
    }
}

#[test]
fn every_kind_of_tool_is_asked_about() {
    let asked = asked(&Capture::load("hook_allow").outputs());
    let tools: Vec<&str> = asked.iter().map(|asked| asked.tool.as_str()).collect();
    assert_eq!(tools, ["Read", "Bash", "mcp__t__hello"]);
    assert_eq!(Value::Object(asked[0].input.clone()), json!({"file_path": "/etc/hostname"}));
    assert!(asked.iter().all(|asked| asked.subagent.is_none()));
}

#[test]
fn a_denied_tool_says_why_in_its_result() {
    let outputs = Capture::load("hook_deny").outputs();
    let blocks = summary(&main_blocks(&outputs));
    assert_eq!(blocks[..2], ["tool Bash Error", "result error: PreToolUse:Bash hook error: no commands here"]);
    assert_eq!(outcomes(&outputs), [TurnOutcome::Completed]);
}

#[test]
fn a_replaced_input_is_what_the_block_shows() {
    let blocks = main_blocks(&Capture::load("hook_replace").outputs());
    let Block::ToolUse(tool) = &blocks[0] else { panic!("no tool") };
    assert_eq!(tool.input, json!({"command": "echo replaced", "description": "Harmless"}));
    assert_eq!(tool.description.as_deref(), Some("Harmless"));
    assert_eq!(summary(&blocks)[1], "result ok: replaced");
}

#[test]
fn a_tool_of_a_subagent_is_asked_about_in_its_name() {
    let outputs = Capture::load("hook_subagent").outputs();
    let asked = asked(&outputs);
    assert_eq!(asked.iter().map(|asked| asked.tool.as_str()).collect::<Vec<_>>(), ["Agent", "Bash"]);
    let subagent = asked[1].subagent.clone().unwrap();
    assert!(asked[0].subagent.is_none());
    let conversations = fold(&outputs);
    assert!(summary(&conversations[&subagent]).iter().any(|line| line.contains("no commands here")), "{conversations:?}");
    assert!(conversations.contains_key(&ConversationId::main()));
}

#[test]
fn an_interrupt_takes_the_question_back() {
    let outputs = Capture::load("hook_interrupt").outputs();
    let asked = asked(&outputs).remove(0);
    assert!(outputs.contains(&Output::Withdrawn(asked.question)));
    assert_eq!(outcomes(&outputs), [TurnOutcome::Interrupted]);
}

#[test]
fn a_change_in_mid_turn_is_in_force_for_the_next_tool() {
    let asked = asked(&Capture::load("hook_midturn").outputs());
    assert_eq!(asked.iter().map(|asked| asked.input["command"].as_str().unwrap()).collect::<Vec<_>>(), ["echo two"]);
}

#[test]
fn a_decision_may_come_before_the_tool_is_told_of() {
    let mut driver = Start { asks_tools: true, ..Start::default() }.claude();
    let mut out = Vec::new();
    let input = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "t1"});
    let request = json!({"subtype": "hook_callback", "callback_id": "before-tool-use", "input": input});
    driver.line(json!({"type": "control_request", "request_id": "q", "request": request}).to_string().as_bytes(), &mut out);
    let instead = json!({"command": "pwd"});
    driver.decided("q", Verdict::Replace(instead.as_object().unwrap().clone()), &mut out);
    let block = json!({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}});
    driver.line(json!({"type": "assistant", "message": {"id": "m", "content": [block]}}).to_string().as_bytes(), &mut out);
    let blocks = main_blocks(&out);
    assert!(matches!(&blocks[..], [Block::ToolUse(tool)] if tool.input == instead), "{blocks:?}");
}

#[test]
fn a_decision_may_come_before_the_subagent_is_told_of() {
    let mut driver = Start { asks_tools: true, ..Start::default() }.claude();
    let mut out = Vec::new();
    for agent in ["a1", "main"] {
        let input = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": agent, "agent_id": agent});
        let request = json!({"subtype": "hook_callback", "callback_id": "before-tool-use", "input": input});
        driver.line(json!({"type": "control_request", "request_id": "q", "request": request}).to_string().as_bytes(), &mut out);
        driver.decided("q", Verdict::Replace(json!({"command": "pwd"}).as_object().unwrap().clone()), &mut out);
    }
    let child =
        json!({"type": "system", "subtype": "task_started", "task_id": "a2", "task_type": "local_agent", "parent_task_id": "unknown"});
    driver.line(child.to_string().as_bytes(), &mut out);
    assert!(!fold(&out).contains_key(&ConversationId::new("unknown").unwrap()), "nobody would see its block there");
    let subagent = ConversationId::new("a1").unwrap();
    let discovered = Output::Event(Event::SubagentDiscovered { id: subagent.clone(), name: None });
    assert_eq!(out.iter().filter(|output| **output == discovered).count(), 1, "its blocks are in a conversation that is known");
    assert_eq!(asked(&out).iter().map(|asked| asked.subagent.clone()).collect::<Vec<_>>(), [Some(subagent.clone()), None]);
    assert_eq!(fold(&out)[&subagent].len(), 1);
}

#[test]
fn an_input_that_is_nested_too_deeply_to_be_read_again_is_shown_as_text() {
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (levels, is_shown) in [(90, true), (120, false)] {
        let mut driver = Start { asks_tools: true, ..Start::default() }.claude();
        let mut out = Vec::new();
        let (given, instead) = (json!({"a": deep(levels)}), json!({"b": deep(levels)}));
        let event = |event: Value| json!({"type": "stream_event", "event": event}).to_string();
        let tool = json!({"type": "tool_use", "id": "t1", "name": "Bash"});
        let delta = json!({"type": "input_json_delta", "partial_json": given.to_string()});
        driver.line(event(json!({"type": "message_start", "message": {"id": "m"}})).as_bytes(), &mut out);
        driver.line(event(json!({"type": "content_block_start", "index": 0, "content_block": tool})).as_bytes(), &mut out);
        driver.line(event(json!({"type": "content_block_delta", "index": 0, "delta": delta})).as_bytes(), &mut out);
        driver.line(event(json!({"type": "message_stop"})).as_bytes(), &mut out);
        let input = json!({"tool_name": "Bash", "tool_input": {}, "tool_use_id": "t2"});
        let request = json!({"subtype": "hook_callback", "callback_id": "before-tool-use", "input": input});
        driver.line(json!({"type": "control_request", "request_id": "q", "request": request}).to_string().as_bytes(), &mut out);
        driver.decided("q", Verdict::Replace(instead.as_object().unwrap().clone()), &mut out);
        let blocks = main_blocks(&out);
        let [Block::ToolUse(streamed), Block::ToolUse(replaced)] = &blocks[..] else { panic!("{blocks:?}") };
        let shown = |value: Value| if is_shown { value } else { Value::from(value.to_string()) };
        assert_eq!((&streamed.input, &replaced.input), (&shown(given), &shown(instead)));
        for output in &out {
            if let Output::Event(event) = output {
                let line = RecordLine { at: Timestamp::from_millis(1), epoch: Epoch(1), event: event.clone() };
                assert_eq!(serde_json::from_str::<RecordLine>(&serde_json::to_string(&line).unwrap()).unwrap(), line);
            }
        }
    }
}

#[test]
fn a_question_that_is_not_understood_is_denied() {
    let mut driver = Start { asks_tools: true, ..Start::default() }.claude();
    for input in [json!({"tool_name": "Bash", "tool_input": "ls", "tool_use_id": "t1"}), Value::Null] {
        let mut out = Vec::new();
        let request = json!({"subtype": "hook_callback", "callback_id": "x", "input": input});
        driver.line(json!({"type": "control_request", "request_id": "q", "request": request}).to_string().as_bytes(), &mut out);
        // An error would let the tool pass in older commands.
        assert_eq!(written(&out)[0]["response"]["response"]["hookSpecificOutput"]["permissionDecision"], "deny");
        assert_eq!(asked(&out), []);
    }
}
