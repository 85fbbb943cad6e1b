//! What each row begins with, and what is asked for each column afterwards.

use std::fs;
use std::path::PathBuf;

use agent_host_tests::{Blocks, Client, Fold, Host, ModelApi, Scene, Setup, Stream, eventually, require, text_of};
use serde_json::{Value, json};

/// A turn that is over: it wrote a file.
const DONE: &str = "write kept.txt some words";

/// A turn that runs: the model has said these words, and does not end before it is released.
const RUNNING: &str = "hold these words";

/// A message that waits for its turn.
pub(crate) const QUEUED: &str = "text it waited";

/// A session in the middle of its work: one turn is over, one runs, a message waits. Fields are dropped in their order: the host before the API that its
/// agent asks.
pub(crate) struct Work {
    /// The client that has seen all of this. A row takes it away, or leaves it connected.
    pub(crate) watcher: Option<Stream>,
    /// The host.
    pub(crate) host: Host,
    /// The session's id.
    pub(crate) session: String,
    /// The agent's model.
    pub(crate) api: ModelApi,
    sqlite: PathBuf,
    /// The messages that were accepted, in their order: id and text.
    accepted: Vec<(String, String)>,
    /// What the client knew when it last looked before it all happened.
    seen: Option<Fold>,
    /// The files that were written.
    files: Vec<(String, String)>,
    /// The lines of the conversation that the agent had in its own transcript by then.
    written: Vec<String>,
}

/// What a client gets that comes back with the number of the last event that it saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Seen {
    /// Each later event, once.
    EachLaterOnce,
    /// A snapshot, and the word that it is one because something is missing.
    Resync,
}

/// What became of the turn that ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ran {
    /// It went on to its end.
    ToItsEnd,
    /// It ended, and the conversation says so in these words.
    Told(&'static str),
}

impl Work {
    /// With a message that waits; `None` on a machine without `claude` or `sqlite3`.
    pub(crate) async fn begin(configure: impl FnOnce(Setup) -> Setup) -> Option<Self> {
        let mut work = Self::begin_without_queue(configure).await?;
        work.say(QUEUED).await;
        work.look().await;
        Some(work)
    }

    /// With a turn that is over and one that runs.
    pub(crate) async fn begin_without_queue(configure: impl FnOnce(Setup) -> Setup) -> Option<Self> {
        let sqlite = require("sqlite3")?;
        let Scene { stream, host, session, api } = Scene::claude_with(configure).await?;
        let (watcher, api) = (Some(stream), api.unwrap());
        let mut work =
            Self { watcher, host, session, api, sqlite, accepted: Vec::new(), seen: None, files: Vec::new(), written: Vec::new() };
        work.wrote("kept.txt", "some words");
        let done = work.say(DONE).await;
        work.watcher().turn_end(&done).await;
        work.say(RUNNING).await;
        work.watcher().next("the last word", |frame| frame.delta().is_some_and(|delta| delta.contains("words"))).await;
        work.write("meanwhile.txt", "more words").await;
        work.look().await;
        Some(work)
    }

    /// Sends a message, which must be accepted, and gives its id.
    pub(crate) async fn say(&mut self, text: &str) -> String {
        let id = self.client().say(&self.session, text).await;
        self.accepted.push((id.clone(), text.to_owned()));
        id
    }

    /// Writes a file into the workspace, as a program does that the agent started, and waits until the client is told.
    pub(crate) async fn write(&mut self, path: &str, content: &str) {
        fs::write(self.sandbox().join("workspace").join(path), content).unwrap();
        self.watcher().next("the file", |frame| frame.event == "session:file:created" && frame.data.to_string().contains(path)).await;
        self.wrote(path, content);
    }

    /// A file was written that the test wrote itself.
    pub(crate) fn wrote(&mut self, path: &str, content: &str) {
        self.files.push((path.to_owned(), content.to_owned()));
    }

    /// A message was accepted that the test sent itself.
    pub(crate) fn accepted(&mut self, id: &str, text: &str) {
        self.accepted.push((id.to_owned(), text.to_owned()));
    }

    /// Notes what the client knows now, and what the agent has written.
    pub(crate) async fn look(&mut self) {
        let session = self.session.clone();
        self.watcher().ask(json!({"type": "ping"})).await;
        self.seen = Some(self.watcher().fold(&session));
        eventually("the agent has written down what it was told", async || self.agent_wrote(RUNNING)).await;
        self.written = self.agent_transcript();
    }

    /// A client of the host as it runs now.
    pub(crate) fn client(&self) -> Client {
        self.host.client()
    }

    async fn session_now(&self) -> Value {
        self.client().session(&self.session).await.expect(200)
    }

    fn watcher(&mut self) -> &mut Stream {
        self.watcher.as_mut().unwrap()
    }

    /// The directory of the session's sandbox.
    pub(crate) fn sandbox(&self) -> PathBuf {
        let entries = fs::read_dir(self.host.data_directory_inside().join("sandboxes")).unwrap().flatten();
        let mut sandboxes = entries.map(|entry| entry.path()).filter(|path| path.join("sandbox.json").is_file());
        let sandbox = sandboxes.next().unwrap();
        assert_eq!(sandboxes.next(), None, "there are two sandboxes");
        sandbox
    }

    /// What the agent has written so far, in its own file.
    pub(crate) fn agent_wrote(&self, words: &str) -> bool {
        self.agent_transcript().iter().any(|line| line.contains(words))
    }

    /// The agent's own file, of which only the lines of the conversation count: the agent writes others for itself.
    fn agent_transcript(&self) -> Vec<String> {
        let projects = fs::read_dir(self.sandbox().join("home/.claude/projects")).into_iter().flatten().flatten();
        let files = projects.flat_map(|project| fs::read_dir(project.path()).unwrap().flatten()).map(|entry| entry.path());
        let transcript = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        transcript.flat_map(|path| conversation(&fs::read(path).unwrap())).collect()
    }

    /// Waits until nothing runs and nothing waits.
    pub(crate) async fn is_idle(&self) {
        let mut stream = self.host.stream().await;
        stream.join(&self.session).await;
        while !self.is_done(&self.session_now().await) {
            stream.next("the end of the last turn", |frame| frame.is_of(&self.session)).await;
        }
    }

    fn is_done(&self, session: &Value) -> bool {
        let answers = Blocks::of_session(session).texts("assistant_text");
        let answered = answers.iter().filter(|text| *text == "it waited").count();
        session["runtime"]["runningMessageId"].is_null() && answered == self.queued().count()
    }

    fn queued(&self) -> impl Iterator<Item = &(String, String)> {
        self.accepted.iter().filter(|(_, text)| text == QUEUED)
    }

    /// Every message that was accepted is in the conversation once, in its order, and those that waited were answered.
    pub(crate) async fn message_accepted(&self) {
        self.is_idle().await;
        let blocks = self.host.blocks(&self.session).await;
        let said: Vec<(String, String)> =
            blocks.all("user_message").iter().map(|block| (block["id"].as_str().unwrap().to_owned(), text_of(block))).collect();
        assert_eq!(said, self.accepted, "message accepted");
    }

    /// The client comes back with the number of the last event that it saw. What it saw before is a part of what it sees then, which is what GET shows.
    pub(crate) async fn event_seen(&mut self, expected: Seen) {
        let (session, mut fold) = (self.session.clone(), self.seen.clone().unwrap());
        let before = fold.clone();
        let mut returned = self.host.stream().await;
        returned.join_since(&session, before.seq()).await;
        self.is_idle().await;
        let (mut taken, mut stored) = (0, self.session_now().await);
        // What comes is checked for its order as it is folded in.
        while fold.seq() != stored["seq"].as_u64().unwrap() {
            if taken == returned.frames().len() {
                returned.next("a later event", |frame| frame.is_of(&session)).await;
            }
            returned.frames()[taken..].iter().for_each(|frame| fold.apply(frame));
            taken = returned.frames().len();
            stored = self.session_now().await;
        }
        let resyncs: Vec<&Value> =
            returned.frames().iter().filter(|frame| frame.event == "session:snapshot").map(|frame| &frame.data["resync"]).collect();
        match expected {
            Seen::EachLaterOnce => assert_eq!(resyncs, Vec::<&Value>::new(), "event seen: each later one once"),
            Seen::Resync => assert_eq!(resyncs, [&json!(true)], "event seen: that something is missing is told"),
        }
        assert_eq!(*fold.blocks(), Blocks::of_session(&stored), "event seen: the client knows what GET shows");
        // All but the one that was being said.
        let complete = before.blocks().main().len() - 1;
        assert_eq!(fold.blocks().main()[..complete], before.blocks().main()[..complete], "event seen: what was seen is still so");
        if let Some(mut watcher) = self.watcher.take() {
            watcher.ask(json!({"type": "ping"})).await;
            assert_eq!(watcher.fold(&session).blocks(), fold.blocks(), "event seen: by a client that never went away");
        }
    }

    /// What the agent had written is stored byte for byte, in its order and once, and the agent goes on with it in another sandbox.
    pub(crate) async fn transcript(&mut self) {
        self.is_idle().await;
        let accepted = self.accepted.clone();
        let stored = conversation(&self.host.stored_stream(&self.sqlite, &self.session, "transcript/main"));
        let kept: Vec<&String> = stored.iter().filter(|line| self.written.contains(line)).collect();
        assert!(self.written.len() >= 3, "{:?}", self.written);
        assert_eq!(kept, self.written.iter().collect::<Vec<_>>(), "transcript: what was written before");
        let answer = self.in_another_sandbox("history").await;
        for (_, text) in &accepted {
            assert!(answer.lines().any(|line| line == text), "transcript: the agent does not know of {text:?}: {answer}");
        }
    }

    /// What was written into the workspace is stored, and is in another sandbox.
    pub(crate) async fn workspace_file(&mut self) {
        let shown = self.client().session_with_files(&self.session).await.expect(200)["workspaceFiles"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut stored: Vec<(String, String)> =
            shown.as_array().unwrap().iter().map(|file| (text(&file["path"]), text(&file["content"]))).collect();
        let mut written = self.files.clone();
        stored.sort();
        written.sort();
        assert_eq!(stored, written, "workspace file: stored");
        let answer = self.in_another_sandbox("bash grep . *.txt").await;
        for (path, content) in written {
            assert!(answer.contains(&format!("{path}:{content}")), "workspace file: {path} is not in the next sandbox: {answer}");
        }
    }

    /// What there is between its message and the next one.
    pub(crate) async fn running_turn(&self, expected: Ran) {
        let blocks = self.host.blocks(&self.session).await;
        let (id, _) = self.accepted.iter().find(|(_, text)| text == RUNNING).unwrap();
        let turn = blocks.main().iter().skip_while(|block| block["id"] != **id).skip(1);
        let turn: Vec<(&str, String)> = turn
            .take_while(|block| block["type"] != "user_message")
            .map(|block| (block["type"].as_str().unwrap(), text_of(block)))
            .collect();
        let is_whole = turn.contains(&("assistant_text", "these words (released)".to_owned()));
        let tells = |words: &str| turn.iter().any(|(kind, text)| ["system", "error"].contains(kind) && text.contains(words));
        match expected {
            Ran::ToItsEnd => assert!(is_whole && turn.len() == 1, "running turn: {turn:?}"),
            Ran::Told(words) => assert!(tells(words) && !is_whole, "running turn: {turn:?}"),
        }
    }

    /// Ends the sandbox, and gives what the agent answers in the next one.
    async fn in_another_sandbox(&mut self, text: &str) -> String {
        self.client().unload(&self.session).await.expect(200);
        let mut stream = self.host.stream().await;
        stream.join(&self.session).await;
        let message = self.say(text).await;
        stream.turn_end(&message).await;
        stream.fold(&self.session).blocks().answer()
    }
}

/// The lines of a transcript that say who said what.
fn conversation(transcript: &[u8]) -> Vec<String> {
    let lines = str::from_utf8(transcript).unwrap().lines();
    lines
        .filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line["type"] == "user" || line["type"] == "assistant"))
        .map(str::to_owned)
        .collect()
}
