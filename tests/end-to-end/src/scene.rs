//! A host with a session that has a stream, as most tests begin.

use std::path::Path;

use fake_model_api::{ModelApi, Scenarios};
use serde_json::Value;

use crate::client::Client;
use crate::fold::Blocks;
use crate::host::Host;
use crate::setup::Setup;
use crate::stream::Stream;

/// A host, a session on it, and a client that has joined the session. Fields are dropped in their order: the host before the API that its agent asks.
pub struct Scene {
    /// The WebSocket, joined from the beginning.
    pub stream: Stream,
    /// The host.
    pub host: Host,
    /// The session's id.
    pub session: String,
    /// The model API of a scene with `claude`.
    pub api: Option<ModelApi>,
}

impl Scene {
    /// With the `echo` agent.
    pub async fn echo() -> Self {
        Self::of(Setup::new().start().await, "echo", None).await
    }

    /// With the real `claude` on the built-in script; `None` if it cannot be had, which is a skipped test.
    pub async fn claude() -> Option<Self> {
        Self::claude_with(|setup| setup).await
    }

    /// The same with more configuration.
    pub async fn claude_with(configure: impl FnOnce(Setup) -> Setup) -> Option<Self> {
        let program = crate::claude()?;
        Some(Self::claude_at(&program, configure).await)
    }

    /// With the `claude` that many machines still have; `None` if it cannot be had.
    pub async fn older_claude() -> Option<Self> {
        let program = crate::older_claude()?;
        Some(Self::claude_at(&program, |setup| setup).await)
    }

    async fn claude_at(program: &Path, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let api = ModelApi::start(Scenarios).expect("failed to start the model API");
        let host = configure(Setup::new().with_claude(program, &api)).start().await;
        Self::of(host, "claude-agent-sdk", Some(api)).await
    }

    /// On a host that runs already.
    pub async fn of(host: Host, architecture: &str, api: Option<ModelApi>) -> Self {
        let session = host.client().new_session(architecture).await;
        let mut stream = host.stream().await;
        stream.join(&session).await;
        Self { stream, host, session, api }
    }

    /// A client of the host as it runs now.
    pub fn client(&self) -> Client {
        self.host.client()
    }

    /// The model API of a scene with `claude`.
    pub fn api(&self) -> &ModelApi {
        self.api.as_ref().expect("the scene has no model API")
    }

    /// Sends a message, waits for the end of its turn, and gives all blocks as the stream told them.
    pub async fn turn(&mut self, content: impl Into<Value>) -> Blocks {
        let message = self.client().say(&self.session, content).await;
        self.stream.turn_end(&message).await;
        self.streamed()
    }

    /// All blocks as the stream told them.
    pub fn streamed(&self) -> Blocks {
        self.stream.fold(&self.session).blocks().clone()
    }

    /// All blocks as GET shows them.
    pub async fn stored(&self) -> Blocks {
        self.host.blocks(&self.session).await
    }

    /// The session as GET shows it with the contents of its files.
    pub async fn with_files(&self) -> Value {
        self.client().session_with_files(&self.session).await.expect(200)
    }

    /// Restarts the host and joins again.
    pub async fn restart(&mut self) {
        self.host.restart().await;
        self.rejoin().await;
    }

    /// Joins again with a new stream.
    pub async fn rejoin(&mut self) {
        self.stream = self.host.stream().await;
        self.stream.join(&self.session).await;
    }
}

/// Creates a session of that profile on the host, joins it, and gives both.
pub async fn session_with(host: &Host, profile: &str, architecture: &str) -> (String, Stream) {
    let request = serde_json::json!({"agentProfileRef": profile, "architecture": architecture});
    let created = host.client().create(&request).await.expect(201);
    let session = created["sessionId"].as_str().expect("a new session has no id").to_owned();
    let mut stream = host.stream().await;
    stream.join(&session).await;
    (session, stream)
}
