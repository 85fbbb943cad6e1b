//! `echo`, with the shell program really running.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agent_host_agents::echo::Echo;
use agent_host_session::block::{Block, ToolStatus};
use agent_host_session::event::{Event, TurnOutcome};
use agent_host_session::message::{Content, Message, Part};
use agent_host_session::metadata::Usage;
use agent_host_session::ports::agent::{Architecture, Asked, Driver, Output};
use agent_host_session::ports::hooks::Verdict;
use agent_host_session::ports::sandbox::{Exit, Root};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::{Start, main_blocks, message, outcomes, profile, summary};

/// The program in a sandbox of two directories. Dropping it ends it.
struct Running {
    driver: Box<dyn Driver>,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Running {
    /// With the shell `program` and its first arguments.
    fn start(shell: &[&str], options: Value) -> Self {
        Self::start_with(shell, Start { options, ..Start::default() })
    }

    /// That asks before it writes a file.
    fn asking(shell: &[&str]) -> Self {
        Self::start_with(shell, Start { asks_tools: true, ..Start::default() })
    }

    fn start_with(shell: &[&str], start: Start) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let launch = start.launch(&Echo);
        for file in &launch.files {
            assert_eq!(file.root, Root::Home);
            let path = directory.path().join("home").join(file.path.as_str());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.content).unwrap();
        }
        std::fs::create_dir(directory.path().join("workspace")).unwrap();
        assert_eq!(
            (launch.command.program.as_str(), &launch.command.args[..]),
            ("/bin/sh", &["/home/agent/.agent-host/echo.sh".to_owned()][..])
        );
        let mut process = Command::new(shell[0])
            .args(&shell[1..])
            .arg(directory.path().join("home/.agent-host/echo.sh"))
            .current_dir(directory.path().join("workspace"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut running = Self { driver: launch.driver, process, stdin, stdout, directory };
        let mut out = Vec::new();
        running.driver.start(&mut out);
        while !out.contains(&Output::Ready) {
            running.line(&mut out);
        }
        running
    }

    /// One line that the program prints.
    fn line(&mut self, out: &mut Vec<Output>) {
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line.pop(), Some(b'\n'), "the program ended");
        self.driver.line(&line, out);
    }

    fn send(&mut self, message: &Message, out: &mut Vec<Output>) {
        self.driver.message(message, out);
        let Some(Output::Stdin(line)) = out.last() else { panic!("nothing was written") };
        // Written by another thread, as a message can be larger than the pipes.
        let (line, mut stdin) = (line.clone(), self.stdin.take().unwrap());
        let writer = std::thread::spawn(move || {
            stdin.write_all(&line).unwrap();
            stdin
        });
        self.line(out);
        self.stdin = Some(writer.join().unwrap());
    }

    fn turn(&mut self, text: &str) -> Vec<Output> {
        let mut out = Vec::new();
        self.send(&message(text), &mut out);
        self.rest(&mut out);
        out
    }

    /// What the program prints until the turn ends.
    fn rest(&mut self, out: &mut Vec<Output>) {
        while !matches!(out.last(), Some(Output::TurnEnded(_))) {
            self.line(out);
        }
    }

    /// A turn in which the program asks once.
    fn decided_turn(&mut self, text: &str, verdict: Verdict<Map<String, Value>>) -> Vec<Output> {
        let mut out = Vec::new();
        let asked = self.until_asked(text, &mut out);
        let before = out.len();
        self.driver.decided(&asked.question, verdict, &mut out);
        self.write(&out[before..]);
        self.rest(&mut out);
        out
    }

    fn until_asked(&mut self, text: &str, out: &mut Vec<Output>) -> Asked {
        self.send(&message(text), out);
        loop {
            let asked = out.iter().find_map(|output| match output {
                Output::Asked(asked) => Some(asked.clone()),
                _ => None,
            });
            match asked {
                Some(asked) => return asked,
                None => self.line(out),
            }
        }
    }

    fn write(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Stdin(line) = output {
                self.stdin.as_mut().unwrap().write_all(line).unwrap();
            }
        }
    }

    fn workspace(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, files);
                } else {
                    files.insert(path.strip_prefix(root).unwrap().display().to_string(), std::fs::read(&path).unwrap());
                }
            }
        }
        let (root, mut files) = (self.directory.path().join("workspace"), BTreeMap::new());
        walk(&root, &root, &mut files);
        files
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shells of this machine: dash on Debian, busybox in Alpine, bash where it is `sh`.
fn shells() -> Vec<Vec<&'static str>> {
    let candidates = [vec!["/bin/sh"], vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"]];
    let works =
        |shell: &Vec<&str>| Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).status().is_ok_and(|status| status.success());
    candidates.into_iter().filter(works).collect()
}

fn said(outputs: &[Output]) -> String {
    let text = |block: &Block| match block {
        Block::AssistantText(text) => Some(text.content.clone()),
        _ => None,
    };
    main_blocks(outputs).iter().filter_map(text).collect()
}

#[test]
fn any_text_comes_back_unchanged() {
    for shell in shells() {
        let mut echo = Running::start(&shell, json!({}));
        for text in [
            "hello",
            "  two  spaces, a\ttab\n\nand lines\n",
            "%s %d %% \\n \\0040 \\\\ \\",
            "-n -e --",
            "* ? [a-z] ~ $HOME $(id) `id` ${x} ; & | < > # !",
            "quotes ' \" ''",
            "grüße 💡 日本 e\u{301} \u{a0} \u{2028}",
            "write",
            "writer x y",
            "\r\n\u{b}\u{c}",
        ] {
            let outputs = echo.turn(text);
            assert_eq!(said(&outputs), text, "{shell:?}");
            assert_eq!(outcomes(&outputs), [TurnOutcome::Completed]);
        }
    }
}

#[test]
fn it_speaks_word_by_word_and_counts_words() {
    let mut echo = Running::start(&["/bin/sh"], json!({}));
    let outputs = echo.turn("one two  three");
    let delta = |output: &Output| match output {
        Output::Event(Event::BlockDelta { delta, .. }) => Some(delta.clone()),
        _ => None,
    };
    assert_eq!(outputs.iter().filter_map(delta).collect::<Vec<_>>(), ["one ", "two  ", "three"]);
    let usage = Usage { input_tokens: 3, output_tokens: 3, ..Usage::default() };
    assert!(outputs.contains(&Output::Spent { usage, cost_usd: 0.0 }));
}

#[test]
fn the_texts_of_parts_are_joined() {
    let mut echo = Running::start(&["/bin/sh"], json!({}));
    let parts = ["a b", "c"].map(|text| Part::Text { text: text.into() }).to_vec();
    let mut out = Vec::new();
    echo.send(&Message { content: Content::Parts(parts), ..message("") }, &mut out);
    echo.rest(&mut out);
    assert_eq!(said(&out), "a b\nc");
}

#[test]
fn a_file_is_written_as_asked_and_shown_as_a_tool() {
    for shell in shells() {
        let mut echo = Running::start(&shell, json!({}));
        let text = "  two\n\n%s * \\n 'x' \"y\" 💡\n";
        let outputs = echo.turn(&format!("write notes/deep/a-b.txt {text}"));
        let text = text.trim_start();
        assert_eq!(echo.workspace(), BTreeMap::from([("notes/deep/a-b.txt".to_owned(), text.as_bytes().to_vec())]), "{shell:?}");
        let lines = ["tool Write Success", "result ok: The file is written.", "text: I wrote notes/deep/a-b.txt."];
        assert_eq!(summary(&main_blocks(&outputs)), lines);
        let Block::ToolUse(tool) = &main_blocks(&outputs)[0] else { panic!("no tool") };
        assert_eq!(tool.input, json!({"file_path": "notes/deep/a-b.txt", "content": text}));

        echo.turn("write empty");
        echo.turn("write -n x");
        echo.turn("write back\\n\\\\slash y");
        echo.turn("write grüße.txt\nline");
        let files = echo.workspace();
        assert_eq!((&files["empty"][..], &files["-n"][..], &files["back\\n\\\\slash"][..]), (&b""[..], &b"x"[..], &b"y"[..]), "{shell:?}");
        assert_eq!(files["grüße.txt"], b"line");
    }
}

#[test]
fn a_name_that_leads_out_of_the_workspace_is_refused() {
    for shell in shells() {
        let mut echo = Running::start(&shell, json!({}));
        for name in ["/etc/x", "../x", "..", "a/../../x", "a/..", "dir/"] {
            let outputs = echo.turn(&format!("write {name} text"));
            let blocks = main_blocks(&outputs);
            assert!(matches!(&blocks[0], Block::ToolUse(tool) if tool.status == ToolStatus::Error), "{shell:?}: {name} was written");
            assert!(
                matches!(&blocks[1], Block::ToolResult(result) if result.is_error && result.output.as_str().unwrap().contains("inside the workspace"))
            );
            assert_eq!(outcomes(&outputs), [TurnOutcome::Completed]);
        }
        assert_eq!(echo.workspace().len(), 0);
        assert!(!echo.directory.path().join("x").exists());
    }
}

#[test]
fn a_file_that_cannot_be_written_is_a_failed_tool() {
    for shell in shells() {
        let mut echo = Running::start(&shell, json!({}));
        echo.turn("write taken x");
        let outputs = echo.turn("write taken/below y");
        let lines = summary(&main_blocks(&outputs));
        assert_eq!(lines[0], "tool Write Error", "{shell:?}");
        assert!(lines[1].starts_with("result error: ") && lines[1].len() > 20, "{lines:?}");
        assert_eq!(lines[2], "text: I could not write taken/below.");
        assert_eq!(said(&echo.turn("still there")), "still there");
    }
}

#[test]
fn a_megabyte_is_said_at_a_reasonable_speed() {
    let mut echo = Running::start(&["/bin/sh"], json!({}));
    let text = "seven b ".repeat(128 * 1024);
    let start = Instant::now();
    assert_eq!(said(&echo.turn(&text)).len(), text.len());
    // Splitting the rest again at each word would take minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    echo.turn(&format!("write big {text}"));
    assert_eq!(echo.workspace()["big"].len(), text.len());
}

#[test]
fn the_pause_between_words_is_an_option_that_changes_with_the_next_message() {
    let mut echo = Running::start(&["/bin/sh"], json!({"delayMs": 150}));
    let start = Instant::now();
    echo.turn("a b c");
    assert!(start.elapsed() >= Duration::from_millis(300));
    let mut out = Vec::new();
    echo.driver.options(json!({"delayMs": 0}).as_object().unwrap(), &mut out);
    echo.driver.message(&message("a b c"), &mut out);
    assert_eq!(out, [Output::Stdin("0 free a\\0040 b\\0040 c\n".into())]);
}

#[test]
fn an_interrupt_ends_the_blocks_at_once_and_the_turn_with_the_program() {
    let mut echo = Running::start(&["/bin/sh"], json!({"delayMs": 20}));
    let mut out = Vec::new();
    echo.send(&message("one two three"), &mut out);
    echo.driver.interrupt(&mut out);
    assert_eq!(summary(&main_blocks(&out)), ["text: one "]);
    assert!(matches!(out.last(), Some(Output::Event(Event::BlockCompleted { .. }))), "the block ends at once");
    assert_eq!(outcomes(&out), []);
    echo.rest(&mut out);
    assert_eq!(summary(&main_blocks(&out)), ["text: one "]);
    assert_eq!(outcomes(&out), [TurnOutcome::Interrupted]);
    assert_eq!(said(&echo.turn("next")), "next");
}

#[test]
fn a_file_is_written_denied_or_written_otherwise_as_decided() {
    for shell in shells() {
        let mut echo = Running::asking(&shell);
        let mut out = Vec::new();
        let asked = echo.until_asked("write a.txt one  two", &mut out);
        let input = json!({"file_path": "a.txt", "content": "one  two"});
        assert_eq!((asked.tool.as_str(), Value::Object(asked.input)), ("Write", input), "{shell:?}");
        assert_eq!(echo.workspace().len(), 0, "it waits");
        let before = out.len();
        echo.driver.decided(&asked.question, Verdict::Allow, &mut out);
        echo.write(&out[before..]);
        echo.rest(&mut out);
        assert_eq!(summary(&main_blocks(&out)), ["tool Write Success", "result ok: The file is written.", "text: I wrote a.txt."]);

        let denied = Verdict::Deny { hook: "guard".into(), reason: "not\nthis one".into() };
        let out = echo.decided_turn("write b.txt x", denied);
        assert_eq!(summary(&main_blocks(&out)), ["tool Write Error", "result error: not\nthis one", "text: I may not write b.txt."]);

        let instead = json!({"file_path": "c d.txt", "content": " % \\n\n"});
        let out = echo.decided_turn("write c.txt x", Verdict::Replace(instead.as_object().unwrap().clone()));
        let Block::ToolUse(tool) = &main_blocks(&out)[0] else { panic!("no tool") };
        assert_eq!(tool.input, instead, "the block shows what was done");
        for input in [json!({}), json!({"file_path": "", "content": "x"}), json!({"file_path": "x", "content": 1})] {
            let out = echo.decided_turn("write d.txt x", Verdict::Replace(input.as_object().unwrap().clone()));
            assert!(summary(&main_blocks(&out))[1].starts_with("result error: the input that a hook gave"));
        }
        let out =
            echo.decided_turn("write e.txt x", Verdict::Replace(json!({"file_path": "empty", "content": ""}).as_object().unwrap().clone()));
        assert_eq!(summary(&main_blocks(&out))[0], "tool Write Success");
        let files =
            [("a.txt", "one  two"), ("c d.txt", " % \\n\n"), ("empty", "")].map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        assert_eq!(echo.workspace(), BTreeMap::from(files), "{shell:?}");
        assert_eq!(said(&echo.turn("still there")), "still there");
    }
}

#[test]
fn an_interrupt_takes_a_question_back_and_the_file_is_not_written() {
    let mut echo = Running::asking(&["/bin/sh"]);
    let mut out = Vec::new();
    let asked = echo.until_asked("write a.txt x", &mut out);
    let before = out.len();
    echo.driver.interrupt(&mut out);
    assert!(out.contains(&Output::Withdrawn(asked.question.clone())));
    echo.write(&out[before..]);
    echo.rest(&mut out);
    assert_eq!(outcomes(&out), [TurnOutcome::Interrupted]);
    assert_eq!(echo.workspace().len(), 0);
    let before = out.len();
    echo.driver.decided(&asked.question, Verdict::Allow, &mut out);
    assert_eq!(out.len(), before, "an answer that comes too late is not given");
}

#[test]
fn whether_it_asks_changes_with_the_next_message() {
    let mut echo = Running::start(&["/bin/sh"], json!({}));
    let mut out = Vec::new();
    echo.turn("write a x");
    echo.driver.ask_tools(true, &mut out);
    echo.decided_turn("write b x", Verdict::Allow);
    echo.driver.ask_tools(false, &mut out);
    echo.turn("write c x");
    assert_eq!((echo.workspace().len(), out.len()), (3, 0));
}

#[test]
fn a_program_that_ends_fails_the_turn() {
    let mut driver = Start::default().launch(&Echo).driver;
    let mut out = Vec::new();
    driver.message(&message("a"), &mut out);
    driver.line(b"text half", &mut out);
    driver.exit(&Exit { code: None, signal: Some(9) }, "", &mut out);
    assert_eq!(outcomes(&out), [TurnOutcome::Failed]);
    assert_eq!(summary(&main_blocks(&out))[0], "text: half");
}

#[test]
fn options_are_checked_by_name() {
    for (options, complaint) in
        [(json!({"delayMs": 60_001}), "delayMs"), (json!({"delayMs": "1"}), "delayMs"), (json!({"model": "x"}), "model")]
    {
        let error = Echo.check_options(options.as_object().unwrap()).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
    assert!(Echo.check_options(json!({"delayMs": 60_000}).as_object().unwrap()).is_ok());
}

#[test]
fn the_profiles_files_and_environment_are_laid_down() {
    let profile = profile(json!({"defaultWorkspaceFiles": [{"path": "a/b", "content": "x"}], "environmentVariables": {"K": "v"}}));
    let launch = Start { profile, ..Start::default() }.launch(&Echo);
    assert!(launch.files.iter().any(|file| file.root == Root::Workspace && file.path.as_str() == "a/b"));
    assert_eq!(launch.command.env, [("K".to_owned(), "v".to_owned())]);
}
