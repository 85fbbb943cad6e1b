//! `examples/adapter-postgres-wire`: an adapter with a driver of its own, on a real PostgreSQL server that only it knows.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]
#![cfg(unix)]

use std::path::Path;

use agent_host_test_programs::{PostgresServer, Stop, postgres, postgres_wire_adapter};
use agent_host_tests::{Kit, Scene, Setup, eventually};
use serde_json::{Value, json};

/// Where the server listens.
fn address(server: &PostgresServer) -> String {
    let (url, _) = server.url_and_password("postgres");
    url.split(['@', '/']).nth(3).unwrap().to_owned()
}

/// What the component is granted: the server's socket, and the password.
fn grants(server: &PostgresServer) -> Value {
    json!({"net": [address(server)], "env": {"PGPASSWORD": "env:PGPASSWORD"}})
}

/// A host whose adapter it is.
fn setup(server: &PostgresServer, component: &Path) -> Setup {
    let (url, password) = server.url_and_password("postgres");
    Setup::new()
        .set("persistence.component", component.to_str().unwrap())
        .set("persistence.config.url", url)
        .set("persistence.grants.net", vec![address(server)])
        .set("persistence.grants.env.PGPASSWORD", "env:PGPASSWORD")
        .with_variable("PGPASSWORD", password)
        .with_variable("WRONG", "wrong")
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let Some(server) = postgres() else { return };
    let host = Setup::new().start().await;
    let (url, password) = server.url_and_password("postgres");
    let kit = Kit::new(&host, postgres_wire_adapter()).granted(&grants(&server)).with(&["--durable", "--set", &format!("url={url}")]);
    kit.with_variable("PGPASSWORD", password).run().await.assert_kept_but(0);
}

#[tokio::test]
async fn sessions_outlast_restarts_of_the_server_and_are_those_of_the_adapter_that_ships() {
    let Some(mut server) = postgres() else { return };
    let component = postgres_wire_adapter();
    let mut scene = Scene::of(setup(&server, &component).start().await, "echo", None).await;
    assert_eq!(scene.host.operator().serving().await.0, "postgres-wire");
    scene.turn("write notes/a.txt before").await;
    for how in [Stop::Fast, Stop::Kill] {
        server.stop(how);
        // It is acknowledged while there is no server, and its turn is stored when there is one again.
        let message = scene.client().say(&scene.session, format!("during {how:?}")).await;
        eventually("the host has noticed", async || scene.client().health().await.body["status"] == "degraded").await;
        server.resume();
        scene.stream.turn_end(&message).await;
        eventually("everything is stored", async || scene.client().health().await.body["status"] == "ok").await;
    }
    // The connections of all instances were lost while nobody used them.
    server.stop(Stop::Fast);
    server.resume();
    let blocks = scene.turn("after all of that").await;
    assert_eq!(blocks.texts("user_message").len(), 4);
    let files = scene.with_files().await;
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM sessions WHERE id NOT LIKE 'agent-host.%'"), "1");

    // The same tables, over the host's own connections.
    let database = json!({"databases": {"main": {"url": server.url_and_password("postgres").0, "password": "env:PGPASSWORD"}}});
    let request = json!({"builtin": "postgresql", "grants": database, "config": {}});
    scene.host.operator().swap_named(&request, "").await.expect(200);
    assert_eq!(scene.host.operator().serving().await.0, "sql");
    assert_eq!(scene.with_files().await["workspaceFiles"], files["workspaceFiles"]);
    scene.restart().await;
    assert_eq!(scene.stored().await, blocks);
}

#[tokio::test]
async fn what_keeps_it_from_its_server_is_said() {
    let Some(server) = postgres() else { return };
    let component = postgres_wire_adapter();
    let host = setup(&server, &component).start().await;
    let (url, _) = server.url_and_password("postgres");
    let all = grants(&server);
    let cases = [
        (json!({"url": url}), json!({"env": all["env"]}), "no grant names the address 127.0.0.1"),
        (json!({"url": url}), json!({"net": all["net"], "env": {"PGPASSWORD": "env:WRONG"}}), "password authentication failed"),
        (json!({"url": url.replace("agent@", "agent:s3cret@")}), all.clone(), "grant it as the environment variable PGPASSWORD"),
        (json!({"url": url.replace("127.0.0.1", "10.0.0.1")}), all.clone(), "is not encrypted"),
        (json!({"url": format!("{url}?sslmode=require")}), all, "cannot encrypt its connection"),
    ];
    for (config, grants, says) in cases {
        let request = json!({"path": component, "config": config, "grants": grants});
        let refused = host.operator().swap_named(&request, "").await.expect_error(422, "COMPONENT_REFUSED");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(says) && !detail.contains("s3cret"), "{says}: {detail}");
    }
    assert_eq!(host.operator().serving().await.0, "postgres-wire");
}
