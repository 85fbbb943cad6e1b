//! The admin calls: who may make them, and what comes of what is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use agent_host_api::Options;
use agent_host_api::admin::{AdminError, Component, HookReplacement, Replacement};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::admin::HookDeed;
use support::{Host, answer, within};

async fn host() -> Host {
    let options = Options {
        api_keys: vec!["user".to_owned().into()],
        admin_keys: vec!["operator".to_owned().into()],
        max_component_bytes: 1000,
        ..Options::default()
    };
    Host { key: Some("operator"), ..Host::start(options).await }
}

/// A replacement that only names a component.
fn only(component: Component) -> Replacement {
    Replacement { component, config: None, grants: None, migrate: false }
}

async fn put(host: &Host, query: &str, kind: &str, body: &[u8]) -> (StatusCode, Value) {
    let request = host.client.put(format!("http://{}/admin/persistence{query}", host.address)).bearer_auth("operator");
    answer(within("a response", request.header("content-type", kind).body(body.to_vec()).send()).await.unwrap()).await
}

#[tokio::test]
async fn only_an_admin_key_opens_the_admin_calls() {
    let mut host = host().await;
    assert_eq!(host.get("/admin/components").await, (StatusCode::OK, json!({"persistence": {"name": "fake"}})));
    for (key, code) in [(Some("user"), "INVALID_API_KEY"), (Some(""), "AUTH_REQUIRED"), (None, "AUTH_REQUIRED")] {
        host.key = key;
        for (method, path) in [
            (Method::GET, "/admin/components"),
            (Method::PUT, "/admin/persistence"),
            (Method::POST, "/admin/persistence/rollback"),
            (Method::DELETE, "/admin/hooks/h"),
        ] {
            let (status, problem) = answer(host.request(method, path, None).await).await;
            assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some(code)), "{path}");
        }
    }
    assert!(host.admin.replacements().is_empty());
}

#[tokio::test]
async fn without_admin_keys_nobody_gets_in_not_even_from_this_machine() {
    let mut host = Host::start(Options::default()).await;
    for key in [None, Some(""), Some("x")] {
        host.key = key;
        assert_eq!(host.get("/admin/components").await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_component_is_a_body_or_named() {
    let host = host().await;
    let (status, served) = put(&host, "?migrate=true&config=%7B%22a%22%3A%22b%22%7D", "application/wasm", b"\0asm").await;
    assert_eq!((status, served), (StatusCode::OK, json!({"generation": 2})));
    for body in [
        json!({"path": "/opt/new.wasm", "config": {"a": "b"}, "grants": {"env": {"A": "env:B"}}}),
        json!({"digest": "ab"}),
        json!({"builtin": "sqlite"}),
        json!({"configured": true}),
    ] {
        let (status, served) = answer(host.request(Method::PUT, "/admin/persistence", Some(body)).await).await;
        assert_eq!(status, StatusCode::OK, "{served}");
    }
    let config = || Some([("a".to_owned(), "b".to_owned())].into());
    let expected = [
        Replacement { config: config(), migrate: true, ..only(Component::Bytes((&b"\0asm"[..]).into())) },
        Replacement { config: config(), grants: Some(json!({"env": {"A": "env:B"}})), ..only(Component::Path("/opt/new.wasm".into())) },
        only(Component::Digest("ab".into())),
        only(Component::Builtin("sqlite".into())),
        only(Component::Configured),
    ];
    assert_eq!(*host.admin.replacements(), expected);
}

#[tokio::test]
async fn what_is_no_request_changes_nothing() {
    let host = host().await;
    for (body, text) in [
        (json!({}), "one of path, digest, builtin, reference and configured is needed"),
        (json!({"path": "/a.wasm", "digest": "ab"}), "one of path, digest, builtin, reference and configured is needed"),
        (json!({"path": "a.wasm"}), "path: a.wasm is not an absolute path"),
        (json!({"builtin": "sqlite", "grant": {}}), "unknown field `grant`"),
        (json!({"builtin": "sqlite", "config": {"a": 1}}), "config.a: invalid type"),
    ] {
        let (status, problem) = answer(host.request(Method::PUT, "/admin/persistence", Some(body)).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(problem["detail"].as_str().unwrap().contains(text), "{problem}");
    }
    assert_eq!(put(&host, "?config=x", "application/wasm", b"\0asm").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(put(&host, "?migrat=true", "application/wasm", b"\0asm").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(put(&host, "", "application/wasm", &[0; 1001]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(host.admin.replacements().is_empty());
}

#[tokio::test]
async fn a_refusal_says_in_which_phase_and_why() {
    let host = host().await;
    host.admin.refuse(AdminError::Refused { phase: "open".into(), reason: "no database".into() });
    let (status, problem) = put(&host, "", "application/wasm", b"\0asm").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        (&problem["code"], &problem["phase"], &problem["detail"]),
        (&json!("COMPONENT_REFUSED"), &json!("open"), &json!("no database"))
    );

    host.admin.refuse(AdminError::Busy("busy".into()));
    let (status, problem) = put(&host, "", "application/wasm", b"\0asm").await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("SWAP_UNDER_WAY")));
    assert_eq!(problem.get("phase"), None);

    host.admin.refuse(AdminError::NothingEarlier("nothing".into()));
    let (status, problem) = answer(host.request(Method::POST, "/admin/persistence/rollback", None).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("NOTHING_EARLIER")));
}

#[tokio::test]
async fn a_hook_is_put_enabled_and_removed_by_its_name() {
    let host = host().await;
    let put = async |path: &str, kind: &str, body: &str| {
        let request = host.client.put(format!("http://{}/admin/hooks/{path}", host.address)).bearer_auth("operator");
        answer(within("a response", request.header("content-type", kind).body(body.to_owned()).send()).await.unwrap()).await
    };
    let bytes = HookReplacement { component: Component::Bytes("wasm".into()), config: None, grants: None, from_start: Some(true) };
    assert_eq!(put("guard?from=start", "application/wasm", "wasm").await.0, StatusCode::OK);
    let named = HookReplacement {
        component: Component::Path("/a.wasm".into()),
        config: Some([("a".to_owned(), "b".to_owned())].into()),
        grants: Some(json!({"net": []})),
        from_start: None,
    };
    let body = r#"{"path": "/a.wasm", "config": {"a": "b"}, "grants": {"net": []}}"#;
    assert_eq!(put("a%20b", "application/json", body).await.0, StatusCode::OK);
    assert_eq!(put("guard/enabled", "application/json", r#"{"enabled": false}"#).await.0, StatusCode::NO_CONTENT);
    assert_eq!(host.request(Method::DELETE, "/admin/hooks/guard", None).await.status(), StatusCode::NO_CONTENT);
    let expected =
        [("guard", HookDeed::Put(bytes)), ("a b", HookDeed::Put(named)), ("guard", HookDeed::Enable(false)), ("guard", HookDeed::Remove)];
    assert_eq!(host.admin.hooks(), expected.map(|(name, deed)| (name.to_owned(), deed)));

    for (path, body) in
        [("guard?from=middle", "{}"), ("guard", "{}"), ("guard/enabled", r#"{"enabled": 1}"#), ("guard", r#"{"path": "a.wasm"}"#)]
    {
        let (status, problem) = put(path, "application/json", body).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("INVALID_REQUEST")), "{path} {body}");
    }
    host.admin.refuse(AdminError::UnknownHook("there is no hook \"x\"".into()));
    let (status, problem) = answer(host.request(Method::DELETE, "/admin/hooks/x", None).await).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("HOOK_NOT_FOUND")));
    assert_eq!(host.admin.hooks().len(), 5, "what is wrong reaches nobody");
}
