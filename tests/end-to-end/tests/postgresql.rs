//! Sessions in PostgreSQL: the real `claude` while the server restarts, hosts that share it, and stores that are moved there and back.

#![cfg(unix)]

use agent_host_test_programs::{PostgresServer, Stop, postgres};
use agent_host_tests::{Host, Scene, Setup, eventually};
use serde_json::{Value, json};

/// Where two hosts say that they are.
const ONE: &str = "http://one.example:7878";
const TWO: &str = "http://two.example:7878";

/// Keeps everything in a database of the server, whose password is in the host's environment alone.
fn in_postgresql(server: &PostgresServer, database: &str, setup: Setup) -> Setup {
    let (url, password) = server.url_and_password(database);
    let mut grant = toml::Table::new();
    grant.insert("url".to_owned(), url.into());
    grant.insert("password".to_owned(), "env:PGPASSWORD".into());
    setup.set("persistence.component", "postgresql").set("persistence.grants.databases.main", grant).with_variable("PGPASSWORD", password)
}

/// The same as a request to the admin API grants it.
fn grants(server: &PostgresServer, database: &str) -> Value {
    json!({"databases": {"main": {"url": server.url_and_password(database).0, "password": "env:PGPASSWORD"}}})
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_restarts_or_is_killed_in_the_middle_of_a_turn() {
    let Some(mut server) = postgres() else { return };
    let Some(mut scene) = Scene::claude_with(|setup| in_postgresql(&server, "postgres", setup)).await else { return };
    scene.turn("write notes/a.txt before").await;
    for (round, how) in [Stop::Fast, Stop::Kill].into_iter().enumerate() {
        let prompt = format!("slow 60 {}", 20 + round);
        let message = scene.client().say(&scene.session, prompt).await;
        scene.stream.next_event("session:block:delta").await;
        server.stop(how);
        // It is acknowledged while there is no server, and runs after the one that runs.
        let queued = scene.client().say(&scene.session, format!("write notes/{round}.txt meanwhile")).await;
        eventually("the host has noticed", async || scene.client().health().await.body["status"] == "degraded").await;
        server.resume();
        scene.stream.turn_end(&message).await;
        scene.stream.turn_end(&queued).await;
        eventually("everything is stored", async || scene.client().health().await.body["status"] == "ok").await;
    }
    let blocks = scene.streamed();
    assert_eq!(blocks.texts("user_message").len(), 5);
    assert_eq!(blocks, scene.stored().await);
    let files = scene.with_files().await;
    // Another host, with nothing but the server, has the same. The conversation goes on there.
    scene.host.stop().await;
    let api = scene.api.take().unwrap();
    let claude = agent_host_tests::claude().unwrap();
    let other = in_postgresql(&server, "postgres", Setup::new().with_claude(&claude, &api)).start().await;
    assert_eq!(other.blocks(&scene.session).await, blocks);
    assert_eq!(other.client().session_with_files(&scene.session).await.expect(200)["workspaceFiles"], files["workspaceFiles"]);
    let mut stream = other.stream().await;
    stream.join(&scene.session).await;
    let message = other.client().say(&scene.session, "history").await;
    stream.turn_end(&message).await;
    let answer = other.blocks(&scene.session).await.answer();
    assert!(answer.starts_with("write notes/a.txt before\nslow 60 20\nwrite notes/0.txt meanwhile"), "{answer}");
}

#[tokio::test]
async fn two_hosts_hand_a_session_over_by_its_lease() {
    let Some(mut server) = postgres() else { return };
    let host = async |address: &str| {
        let setup = Setup::new().set("leases.address", address).set("leases.ttl", "3s");
        in_postgresql(&server, "postgres", setup).start().await
    };
    let (mut one, two) = (host(ONE).await, host(TWO).await);
    let session = one.client().new_session("echo").await;
    turn(&one, &session, "to the first").await;
    let problem = two.client().message(&session, "x").await.expect_error(409, "SESSION_OWNED");
    assert_eq!(problem["owner"], ONE);
    one.client().unload(&session).await.expect(200);
    turn(&two, &session, "to the second").await;
    assert_eq!(one.client().message(&session, "x").await.expect_error(409, "SESSION_OWNED")["owner"], TWO);
    two.client().unload(&session).await.expect(200);

    // A host that was killed while the server was away has lost the session when its lease has ended, by the clock of the server.
    turn(&one, &session, "to the first again").await;
    server.stop(Stop::Kill);
    one.kill().await;
    server.resume();
    eventually("the lease has ended", async || two.client().message_with_id(&session, "taken", "taken").await.status == 202).await;
    eventually("the turn has ended", async || two.blocks(&session).await.answer().trim_end() == "taken").await;
    let blocks = two.blocks(&session).await;
    assert_eq!(blocks.texts("user_message"), ["to the first", "to the second", "to the first again", "taken"]);
    one.start_again().await;
    eventually("it has let go of the session", async || one.client().session(&session).await.status == 200).await;
    assert_eq!(one.blocks(&session).await, blocks);
    assert_eq!(one.client().message(&session, "x").await.expect_error(409, "SESSION_OWNED")["owner"], TWO);
}

async fn turn(host: &Host, session: &str, text: &str) {
    let mut stream = host.stream().await;
    stream.join(session).await;
    let message = host.client().say(session, text).await;
    stream.turn_end(&message).await;
}

#[tokio::test]
async fn a_store_is_moved_there_and_back_while_the_host_runs_and_while_none_does() {
    let Some(server) = postgres() else { return };
    let password = server.url_and_password("postgres").1;
    let mut scene = Scene::of(Setup::new().with_variable("PGPASSWORD", password).start().await, "echo", None).await;
    scene.turn("write notes/a.txt some words").await;
    let before = scene.with_files().await;
    let operator = scene.host.operator();

    let without = operator.swap_named(&json!({"builtin": "postgresql"}), "?migrate=true").await.expect_error(422, "COMPONENT_REFUSED");
    assert!(without["detail"].as_str().unwrap().contains("postgres://"), "{without}");
    let there = json!({"builtin": "postgresql", "grants": grants(&server, "postgres")});
    let report = operator.swap_named(&there, "?migrate=true").await.expect(200);
    assert_eq!((&report["copied"]["sessions"], &report["copied"]["files"]), (&json!(1), &json!(1)));
    assert_eq!(scene.with_files().await, before);
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM sessions WHERE id NOT LIKE 'agent-host.%'"), "1");
    scene.turn("in PostgreSQL").await;
    // It is in force after a restart, too.
    scene.restart().await;
    let blocks = scene.turn("after the restart").await;

    let back =
        json!({"builtin": "sqlite", "grants": {"databases": {"main": format!("sqlite:{}", scene.host.beside("back.db").display())}}});
    scene.host.operator().swap_named(&back, "?migrate=true").await.expect(200);
    assert_eq!(scene.stored().await, blocks);
    let all = scene.with_files().await;
    scene.host.stop().await;

    // And by `copy`, while no host runs.
    let (url, _) = server.url_and_password("copied");
    server.create_database("copied");
    let copy = |from: &str, to: &str| {
        let mut command = scene.host.command();
        command.args(["copy", "--from", from, "--to", to]).env("COPIED", server.url("copied"));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let sqlite = |name: &str| format!("sqlite:{}", scene.host.beside(name).display());
    let (done, said) = copy(&sqlite("back.db"), &url.replace("agent@", "agent:wrong@"));
    assert!(!done && said.contains("password") && !said.contains("wrong"), "{said}");
    let (done, said) = copy(&sqlite("back.db"), "env:COPIED");
    assert!(done, "{said}");
    let (done, said) = copy("env:COPIED", &sqlite("again.db"));
    assert!(done, "{said}");
    let again = Setup::new().set("persistence.grants.databases.main", sqlite("again.db")).start().await;
    let session = again.client().session_with_files(&scene.session).await.expect(200);
    for part in ["workspaceFiles", "blocks", "metadata"] {
        assert_eq!(session[part], all[part], "{part}");
    }
}

#[tokio::test]
async fn what_the_configuration_lacks_is_said_and_secrets_are_not() {
    let Some(server) = postgres() else { return };
    let host = Setup::new().start().await;
    let run = |arguments: &[&str]| {
        let output = host.command().args(arguments).env("PGPASSWORD", "not the password").output().unwrap();
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let url = server.url_and_password("postgres").0;
    let test = |grant: Value| {
        run(&["adapter", "test", "postgresql", "--only", "profiles", "--grants", &json!({"databases": {"main": grant}}).to_string()])
    };
    let (kept, said) = test(json!({"url": url, "password": "env:PGPASSWORD"}));
    assert!(!kept && said.contains("password authentication failed") && !said.contains("not the password"), "{said}");
    let (kept, said) = test(json!({"url": url, "password": "written out"}));
    assert!(!kept && said.contains("env:NAME") && !said.contains("written out"), "{said}");
    let (kept, said) = test(json!(server.url("postgres")));
    assert!(!kept && said.contains("a password is not written") && !said.contains("s3cret"), "{said}");
    let (kept, said) = test(json!({"url": url, "pasword": "env:PGPASSWORD"}));
    assert!(!kept && said.contains("pasword"), "{said}");
    let (kept, said) = test(json!({"url": url, "connections": 0}));
    assert!(!kept && said.contains("connections"), "{said}");
    let (kept, said) = run(&["adapter", "test", "postgresql", "--only", "profiles"]);
    assert!(!kept && said.contains("postgres://USER@HOST/DATABASE"), "{said}");
}
