//! The adapter `http`, with the servers of `examples/http-store`: the kit over each of them, over a bad network, and the whole host while its store is killed.

#![expect(clippy::expect_used, reason = "tests report by panicking")]
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_host_test_programs::{HttpStore, http_store_in_python, http_store_in_typescript, postgres};
use agent_host_tests::{Host, Kit, Scene, Setup, http, shipped_adapter};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::net::TcpListener;

/// The kit, on the adapter and this store, reached at `url`.
fn kit(host: &Host, store: &HttpStore, url: &str) -> Kit {
    let grants = json!({"http": [format!("{url}/*")], "env": {"STORE_SECRET": "env:STORE_SECRET"}});
    let (url, auth) = (format!("url={url}"), format!("auth={}", store.authentication()));
    let set = ["--set", &url, "--set", &auth];
    Kit::new(host, shipped_adapter("http")).granted(&grants).with(&set).with_variable("STORE_SECRET", store.secret())
}

#[tokio::test]
async fn the_contract_is_kept_by_a_store_in_python() {
    let Some(store) = http_store_in_python() else { return };
    let host = Setup::new().start().await;
    kit(&host, &store, &store.url()).run().await.assert_kept_but(0);
}

#[tokio::test]
async fn the_contract_is_kept_by_a_store_in_typescript() {
    let Some(server) = postgres() else { return };
    let Some(store) = http_store_in_typescript(server.url("postgres")) else { return };
    let host = Setup::new().start().await;
    kit(&host, &store, &store.url()).run().await.assert_kept_but(0);
}

/// What is between the adapter and its store, on a bad day.
#[derive(Clone)]
struct BadNetwork {
    store: String,
    client: reqwest::Client,
    requests: Arc<AtomicUsize>,
}

impl BadNetwork {
    async fn start(store: &HttpStore) -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("failed to listen");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let network = Self { store: store.url(), client: http().build().expect("failed to make a client"), requests: Arc::default() };
        let router = Router::new().fallback(pass).with_state(network.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, network)
    }

    async fn forward(&self, method: &Method, target: &str, headers: &HeaderMap, body: &Bytes) -> Option<Response> {
        let request = self.client.request(method.clone(), format!("{}{target}", self.store)).headers(headers.clone()).body(body.clone());
        let answer = request.send().await.ok()?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove("transfer-encoding");
        Some((status, headers, answer.bytes().await.ok()?).into_response())
    }
}

/// One request of each dozen does not arrive, of one the answer is lost, and one arrives twice.
async fn pass(State(network): State<BadNetwork>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let number = network.requests.fetch_add(1, Ordering::Relaxed);
    let lost = (StatusCode::BAD_GATEWAY, "lost on the way").into_response();
    if number % 12 == 3 {
        return lost;
    }
    let answer = network.forward(&method, target, &headers, &body).await;
    match number % 12 {
        7 => lost,
        10 => network.forward(&method, target, &headers, &body).await.unwrap_or(lost),
        _ => answer.unwrap_or(lost),
    }
}

#[tokio::test]
async fn the_contract_is_kept_over_a_bad_network() {
    let Some(store) = http_store_in_python() else { return };
    let (url, network) = BadNetwork::start(&store).await;
    // Not those that make tens of thousands of requests.
    let only = ["sequences", "epochs", "leases", "streams", "sessions", "files.come", "files.delete", "profiles", "durability"];
    let only: Vec<&str> = only.iter().flat_map(|name| ["--only", name]).collect();
    let host = Setup::new().start().await;
    let report = kit(&host, &store, &url).with(&only).run().await;
    assert!(report.broken.is_empty() && report.skipped.is_empty() && report.kept.len() > 20, "{:#}", report.document);
    let requests = network.requests.load(Ordering::Relaxed);
    assert!(requests > 500, "only {requests} requests were made");
}

#[tokio::test]
async fn a_store_that_is_killed_loses_nothing() {
    let Some(mut store) = http_store_in_python() else { return };
    let url = store.url();
    let setup = Setup::new()
        .with_variable("STORE_SECRET", store.secret())
        .set("persistence.component", shipped_adapter("http").to_string_lossy().into_owned());
    let setup = setup.set("persistence.config.url", url.clone()).set("persistence.grants.http", vec![format!("{url}/*")]);
    let setup = setup.set("persistence.grants.env.STORE_SECRET", "env:STORE_SECRET");
    let mut scene = Scene::of(setup.start().await, "echo", None).await;
    scene.turn("write notes/a.txt before").await;
    store.kill();
    let meanwhile = scene.turn("write notes/b.txt meanwhile").await;
    assert!(meanwhile.answer().contains("notes/b.txt"), "{}", meanwhile.answer());
    store.resume();
    let blocks = scene.turn("afterwards").await;
    let files = scene.with_files().await;
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
    assert_eq!(scene.with_files().await["workspaceFiles"], files["workspaceFiles"]);
    assert!(!scene.host.log().contains(store.secret()), "the log has the secret");
}
