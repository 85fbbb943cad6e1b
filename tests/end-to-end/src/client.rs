//! The REST API.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::DEADLINE;

/// A client of one host.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: Option<String>,
}

/// What a host answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; `null` if there is none, a string if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must have this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "unexpected status; the body is {}", self.body);
        self.body
    }

    /// Checks that it is an error with this status and code, in the form that all errors have.
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        for member in ["error", "type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "an error without {member:?}: {body}");
        }
        body
    }
}

impl Client {
    /// A client that shows this key, or none.
    pub fn new(base_url: &str, key: Option<&str>) -> Self {
        let http = crate::http().timeout(DEADLINE).build().expect("failed to make an HTTP client");
        Self { http, base_url: base_url.to_owned(), key: key.map(str::to_owned) }
    }

    /// The same client with another key, or none.
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap_or_else(|error| panic!("the host did not answer: {error:?}"));
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_else(|error| panic!("the host broke its answer off: {error:?}"));
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Answer { status, body }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// POST without a body.
    pub async fn command(&self, path: &str) -> Answer {
        self.send(self.request(Method::POST, path)).await
    }

    /// Creates a session from the whole request.
    pub async fn create(&self, request: &Value) -> Answer {
        self.post("/sessions/create", request).await
    }

    /// Creates a session of the default profile and gives its id.
    pub async fn new_session(&self, architecture: &str) -> String {
        let created = self.create(&json!({"agentProfileRef": "default", "architecture": architecture})).await.expect(201);
        created["sessionId"].as_str().expect("a new session has no id").to_owned()
    }

    /// A page of sessions; `query` begins with `?`, or is empty.
    pub async fn sessions(&self, query: &str) -> Answer {
        self.get(&format!("/sessions{query}")).await
    }

    /// A whole session.
    pub async fn session(&self, session: &str) -> Answer {
        self.get(&format!("/sessions/{session}")).await
    }

    /// A whole session with the contents of its files.
    pub async fn session_with_files(&self, session: &str) -> Answer {
        self.get(&format!("/sessions/{session}?include=files")).await
    }

    /// Sends a message: text, or parts.
    pub async fn message(&self, session: &str, content: impl Into<Value>) -> Answer {
        self.post(&format!("/sessions/{session}/message"), &json!({"content": content.into()})).await
    }

    /// Sends a message that has an id.
    pub async fn message_with_id(&self, session: &str, id: &str, content: impl Into<Value>) -> Answer {
        self.post(&format!("/sessions/{session}/message"), &json!({"content": content.into(), "messageId": id})).await
    }

    /// Sends a message that must be accepted, and gives its id.
    pub async fn say(&self, session: &str, content: impl Into<Value>) -> String {
        let accepted = self.message(session, content).await.expect(202);
        assert_eq!((&accepted["success"], &accepted["sessionId"]), (&json!(true), &json!(session)), "{accepted}");
        accepted["messageId"].as_str().expect("an accepted message has no id").to_owned()
    }

    /// A request for a session's events, which may go on for ever.
    pub fn stream_request(&self, session: &str) -> RequestBuilder {
        // A request cannot be told to have no limit where its client has one: so it is one that no test reaches.
        self.request(Method::GET, &format!("/sessions/{session}/events")).timeout(DEADLINE * 60)
    }

    /// Interrupts the running turn.
    pub async fn interrupt(&self, session: &str) -> Answer {
        self.command(&format!("/sessions/{session}/interrupt")).await
    }

    /// Ends the sandbox and unloads the session.
    pub async fn unload(&self, session: &str) -> Answer {
        self.command(&format!("/sessions/{session}/unload")).await
    }

    /// Stores what is not stored yet.
    pub async fn sync(&self, session: &str) -> Answer {
        self.command(&format!("/sessions/{session}/sync")).await
    }

    /// Changes a session's options.
    pub async fn set_options(&self, session: &str, options: &Value) -> Answer {
        let request = self.request(Method::PATCH, &format!("/sessions/{session}/options"));
        self.send(request.json(&json!({"sessionOptions": options}))).await
    }

    /// Deletes a session.
    pub async fn delete(&self, session: &str) -> Answer {
        self.send(self.request(Method::DELETE, &format!("/sessions/{session}"))).await
    }

    /// Lists the agent profiles.
    pub async fn profiles(&self) -> Answer {
        self.get("/agent-profiles").await
    }

    /// An agent profile.
    pub async fn profile(&self, id: &str) -> Answer {
        self.get(&format!("/agent-profiles/{id}")).await
    }

    /// Adds or replaces an agent profile.
    pub async fn put_profile(&self, id: &str, profile: &Value) -> Answer {
        self.send(self.request(Method::PUT, &format!("/agent-profiles/{id}")).json(profile)).await
    }

    /// Deletes an agent profile.
    pub async fn delete_profile(&self, id: &str) -> Answer {
        self.send(self.request(Method::DELETE, &format!("/agent-profiles/{id}"))).await
    }

    /// Whether the host is well.
    pub async fn health(&self) -> Answer {
        self.get("/health").await
    }
}
