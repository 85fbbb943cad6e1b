//! What the client does, against the fake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use agent_host_modal::{
    Backend, BuildFailure, Client, Command, EndReason, EntryKind, Error, Exit, FileErrorKind, Image, ImageId, Network, Port, Sandbox,
    SandboxFilter, SandboxOptions, Token,
};
use fake_modal::{BuildEnd, FakeModal, Fault};
use futures_util::{FutureExt as _, TryStreamExt as _};
use support::{World, client, config, options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn sh(script: &str) -> Command {
    Command::new("sh").arg("-c").arg(script)
}

async fn printed(sandbox: &Sandbox, command: &Command) -> String {
    let finished = sandbox.exec(command).await.unwrap().finish().await.unwrap();
    assert!(finished.exit.is_success(), "{finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

#[tokio::test]
async fn programs_run_with_input_output_and_an_end() {
    for backend in [Backend::V2, Backend::V1] {
        let world = World::with(options(), backend).await;
        let options = SandboxOptions::new().working_dir("/work").env("SET", "sandbox").env("OTHER", "sandbox");
        let sandbox = Sandbox::create(&world.app, &world.image, &options).await.unwrap();
        assert_eq!(sandbox.backend(), backend);
        assert_eq!(printed(&sandbox, &sh("pwd; echo $SET $OTHER; ls /work")).await, "/work\nsandbox sandbox\n");
        let command = sh("pwd; echo $SET $OTHER").env("SET", "command").working_dir("/tmp");
        assert_eq!(printed(&sandbox, &command).await, "/tmp\ncommand sandbox\n");
        let finished = sandbox.exec(&sh("echo out; echo err >&2; exit 3")).await.unwrap().finish().await.unwrap();
        assert_eq!((finished.exit, finished.stdout.as_slice(), finished.stderr.as_slice()), (Exit::Code(3), &b"out\n"[..], &b"err\n"[..]));

        let mut process = sandbox.exec(&Command::new("cat")).await.unwrap();
        process.stdin.write_all(b"one\n").await.unwrap();
        let mut line = [0; 4];
        process.stdout.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"one\n", "it is sent without waiting for more");
        assert_eq!(process.exec.poll().await.unwrap(), None);
        process.stdin.write_all(b"two\n").await.unwrap();
        process.stdin.shutdown().await.unwrap();
        let mut rest = String::new();
        process.stdout.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "two\n");
        assert_eq!(process.exec.wait().await.unwrap(), Exit::Code(0));
        assert_eq!(process.exec.poll().await.unwrap(), Some(Exit::Code(0)));

        let killed = sandbox.exec(&sh("kill -9 $$")).await.unwrap();
        assert_eq!(killed.exec.wait().await.unwrap(), Exit::Signal(9));
        let slow = sandbox.exec(&sh("sleep 60").timeout(Duration::from_secs(1))).await.unwrap();
        assert!(!slow.exec.wait().await.unwrap().is_success());
        sandbox.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_is_found_again_by_its_id_and_its_output_read_from_any_byte_on() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let mut process = sandbox.exec(&sh("echo one; echo error >&2; read line; echo $line; exit 3")).await.unwrap();
    let mut line = [0; 4];
    process.stdout.read_exact(&mut line).await.unwrap();
    // As whoever started it would, after that was restarted.
    let again = Sandbox::from_id(&client(&world.fake), sandbox.id()).await.unwrap();
    let found = again.exec_from_id(process.exec.id()).await.unwrap();
    assert_eq!((found.id(), found.poll().await.unwrap()), (process.exec.id(), None));
    process.stdin.write_all(b"two\n").await.unwrap();
    process.stdin.shutdown().await.unwrap();
    for (mut output, expected) in
        [(found.stdout_from(4), "two\n"), (found.stdout_from(0), "one\ntwo\n"), (found.stderr_from(1), "rror\n"), (process.stdout, "two\n")]
    {
        let mut came = String::new();
        output.read_to_string(&mut came).await.unwrap();
        assert_eq!(came, expected);
    }
    assert_eq!(found.wait().await.unwrap(), Exit::Code(3));
    assert!(matches!(again.exec_from_id("none").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn much_goes_in_and_out_and_no_byte_is_lost() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let process = sandbox.exec(&Command::new("cat")).await.unwrap();
    let (mut stdin, mut stdout) = (process.stdin, process.stdout);
    let sent: Vec<u8> = (0..10_000_000_u32).map(|number| (number % 251) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let mut came = Vec::new();
    stdout.read_to_end(&mut came).await.unwrap();
    writing.await.unwrap();
    assert!(came == expected);
    // Dropping the input ends it as well.
    let process = sandbox.exec(&Command::new("cat")).await.unwrap();
    drop(process.stdin);
    assert_eq!(process.exec.wait().await.unwrap(), Exit::Code(0));
    // A program that does not read is no reason to wait.
    let mut process = sandbox.exec(&Command::new("true")).await.unwrap();
    process.exec.wait().await.unwrap();
    let refused = async {
        loop {
            process.stdin.write_all(&[0; 100_000]).await?;
            process.stdin.flush().await?;
        }
    };
    let refused: Result<(), std::io::Error> = refused.await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    process.stdin.shutdown().await.unwrap();
}

#[tokio::test]
async fn input_that_cannot_be_sent_is_an_error_and_what_is_dropped_is_no_lie() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let mut process = sandbox.exec(&Command::new("cat")).await.unwrap();
    assert_eq!(process.stdin.write(b"").await.unwrap(), 0, "which ends nothing");
    world.fake.faults().next("TaskExecStdinWrite", 1, Fault::Hang);
    process.stdin.write_all(b"written").await.unwrap();
    assert!(process.stdin.flush().now_or_never().is_none());
    // That flush was given up; the end is another thing.
    let finished = process.finish().await.unwrap();
    assert_eq!((finished.exit, finished.stdout.as_slice()), (Exit::Code(0), &b"written"[..]));

    let mut process = sandbox.exec(&Command::new("cat")).await.unwrap();
    world.fake.faults().next("TaskExecStdinWrite", usize::MAX, Fault::Status(tonic::Code::ResourceExhausted));
    process.stdin.write_all(b"never arrives").await.unwrap();
    assert!(matches!(process.finish().await, Err(Error::Exhausted { .. })));
    world.fake.faults().clear();

    // An upload that is given up ends the input, so that nothing runs on.
    let process = sandbox.exec(&Command::new("cat")).await.unwrap();
    world.fake.faults().next("TaskExecStdinWriteStream", 1, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(200), process.stdin.send_all("x")).await.is_err());
    assert_eq!(process.exec.wait().await.unwrap(), Exit::Code(0));
}

#[tokio::test]
async fn files_are_written_read_listed_watched_and_removed() {
    let world = World::new().await;
    let sandbox = world.sandbox().await;
    let fs = sandbox.fs();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 253) as u8).collect();
    fs.write("/work/a/b.bin", large.clone()).await.unwrap();
    assert!(fs.read("/work/a/b.bin").await.unwrap() == large);
    fs.write_from("/work/a/b.bin", large.get(..2_000_000).unwrap()).await.unwrap();
    let mut read = Vec::new();
    fs.read_stream("/work/a/b.bin").await.unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == large[..2_000_000]);
    fs.write("/work/empty", "").await.unwrap();
    assert_eq!(fs.read("/work/empty").await.unwrap(), "");

    printed(&sandbox, &sh("ln -s a link")).await;
    let entries = fs.list("/work").await.unwrap();
    let shown: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(shown, [("a", EntryKind::Directory), ("empty", EntryKind::File), ("link", EntryKind::Symlink)]);
    assert_eq!(fs.stat("/work/a/b.bin").await.unwrap().size, 2_000_000);
    assert_eq!(fs.stat("/work/link").await.unwrap().target.as_deref(), Some("a"));

    let mut watch = fs.watch("/work", true).await.unwrap();
    let seen = async {
        loop {
            // The watch begins some time after it was asked for.
            fs.write("/work/a/new", "x").await.unwrap();
            let event = tokio::time::timeout(Duration::from_millis(500), watch.next()).await;
            if event.is_ok_and(|event| event.unwrap().paths.contains(&"/work/a/new".to_owned())) {
                return;
            }
        }
    };
    seen.await;
    drop(watch);

    fs.make_dir("/work/x/y", true).await.unwrap();
    let kind = |result: Result<(), Error>| match result.unwrap_err() {
        Error::File { kind, .. } => kind,
        error => panic!("{error}"),
    };
    assert_eq!(kind(fs.read("/work/none").await.map(drop)), FileErrorKind::NotFound);
    assert_eq!(kind(fs.read("/work/a").await.map(drop)), FileErrorKind::IsDirectory);
    assert_eq!(kind(fs.write("/work/a", "x").await), FileErrorKind::IsDirectory);
    assert_eq!(kind(fs.write("/work/empty/x", "x").await), FileErrorKind::NotDirectory);
    assert_eq!(kind(fs.write_from("/work/a", &[1; 3_000_000][..]).await), FileErrorKind::IsDirectory);
    assert_eq!(kind(fs.make_dir("/work/x", false).await), FileErrorKind::AlreadyExists);
    assert_eq!(kind(fs.remove("/work/x", false).await), FileErrorKind::DirectoryNotEmpty);
    fs.remove("/work/x", true).await.unwrap();
    assert_eq!(kind(fs.stat("/work/x").await.map(drop)), FileErrorKind::NotFound);
    assert!(matches!(fs.read("relative").await, Err(Error::Invalid { .. })));
    let missing = fs.read_stream("/work/none").await.unwrap().read_to_end(&mut read).await.unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn images_are_built_once_with_a_log_and_a_reason_where_they_fail() {
    let mut options = options();
    options.build_step = Duration::from_millis(20);
    let world = World::with(options, Backend::V2).await;
    let recipe = Image::from_registry("node:22-slim").dockerfile_commands(["RUN one", "RUN two"]).dockerfile_commands(["RUN three"]);
    let mut build = recipe.build(&world.app);
    let mut log = String::new();
    while let Some(text) = build.next_log().await.unwrap() {
        log += &text;
    }
    assert_eq!(log, "=> FROM node:22-slim\n=> FROM base\n=> RUN one\n=> RUN two\n=> FROM base\n=> RUN three\n");
    let id = build.finish().await.unwrap();
    let mut again = recipe.build(&world.app);
    assert_eq!(again.next_log().await.unwrap(), None, "it is there");
    assert_eq!(again.finish().await.unwrap(), id);
    assert_eq!(ImageId::look_up(&world.app, id.as_str()).await.unwrap(), id);
    assert!(matches!(ImageId::look_up(&world.app, "im-none").await, Err(Error::NotFound { .. })));
    let ends = [
        (BuildEnd::Failed, BuildFailure::Failed, "Image build terminated due to a failing command"),
        (BuildEnd::Terminated, BuildFailure::Terminated, "the build was terminated"),
        (BuildEnd::TimedOut, BuildFailure::TimedOut, "the build took too long"),
    ];
    for (end, expected, why) in ends {
        world.fake.world().end_builds_with("false", end);
        match Image::from_registry("node:22-slim").dockerfile_commands(["RUN true", "RUN false"]).build(&world.app).await {
            Err(Error::BuildFailed { kind, reason, log, .. }) => {
                assert_eq!((kind, reason.as_str()), (expected, why));
                assert!(log.ends_with("=> RUN false"), "{log}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn sandboxes_are_found_by_id_name_and_tag() {
    for backend in [Backend::V2, Backend::V1] {
        let world = World::with(options(), backend).await;
        let client = world.app.client();
        let mut ids = Vec::new();
        for number in 0..12 {
            let options = SandboxOptions::new().tag("number", number.to_string()).tag("all", "yes").name(format!("box-{number}"));
            ids.push(Sandbox::create(&world.app, &world.image, &options).await.unwrap().id().to_owned());
        }
        let list = async |filter: SandboxFilter| Sandbox::list(&world.app, &filter).try_collect::<Vec<_>>().await.unwrap();
        let all = list(SandboxFilter::new().tag("all", "yes")).await;
        assert_eq!(all.iter().rev().map(|listed| listed.sandbox.id().to_owned()).collect::<Vec<_>>(), ids);
        let third = list(SandboxFilter::new().tag("number", "3")).await;
        assert_eq!((third.len(), third[0].name.as_deref(), third[0].tags["all"].as_str()), (1, Some("box-3"), "yes"));
        let found = Sandbox::from_name(&world.app, "box-3").await.unwrap();
        assert_eq!(found.id(), ids[3]);
        assert!(matches!(Sandbox::from_name(&world.app, "box-99").await, Err(Error::NotFound { .. })));
        assert!(matches!(Sandbox::from_id(client, "sb-none").await, Err(Error::NotFound { .. })));
        let same = SandboxOptions::new().name("box-3");
        assert!(matches!(Sandbox::create(&world.app, &world.image, &same).await, Err(Error::AlreadyExists { .. })));

        let found = Sandbox::from_id(client, &ids[4]).await.unwrap();
        assert_eq!(printed(&found, &sh("echo found")).await, "found\n");
        found.set_tags(&BTreeMap::from([("new".to_owned(), "tag".to_owned())])).await.unwrap();
        assert_eq!(found.tags().await.unwrap(), BTreeMap::from([("new".to_owned(), "tag".to_owned())]));
        found.terminate().await.unwrap();
        found.terminate().await.unwrap();
        assert_eq!(found.wait().await.unwrap().reason, EndReason::Terminated);
        assert_eq!(list(SandboxFilter::new()).await.len(), 11);
        let finished = list(SandboxFilter::new().include_finished().tag("new", "tag")).await;
        assert_eq!(finished[0].end.as_ref().unwrap().code, Some(137));
    }
}

#[tokio::test]
async fn a_sandbox_ends_when_its_time_is_over_or_nothing_happens() {
    let world = World::new().await;
    let second = Duration::from_secs(1);
    let short = Sandbox::create(&world.app, &world.image, &SandboxOptions::new().lifetime(second)).await.unwrap();
    let idle = Sandbox::create(&world.app, &world.image, &SandboxOptions::new().idle_timeout(second)).await.unwrap();
    assert_eq!(idle.poll().await.unwrap(), None);
    let running = short.exec(&Command::new("sleep").arg("60")).await.unwrap();
    let end = short.wait().await.unwrap();
    assert_eq!((end.reason, end.code), (EndReason::TimedOut, Some(124)));
    assert!(matches!(running.exec.wait().await, Err(Error::Ended { .. })));
    assert_eq!(idle.wait().await.unwrap().reason, EndReason::Idle);
    match idle.exec(&Command::new("true")).await {
        Err(Error::Ended { end, .. }) => assert_eq!(end.reason, EndReason::Idle),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ports_networks_and_snapshots() {
    let world = World::new().await;
    let options = SandboxOptions::new()
        .port(Port { number: 8080, unencrypted: false })
        .port(Port { number: 22, unencrypted: true })
        .network(Network::Allowed(vec!["10.0.0.0/8".to_owned()]));
    let sandbox = Sandbox::create(&world.app, &world.image, &options).await.unwrap();
    let tunnels = sandbox.tunnels(Duration::from_secs(5)).await.unwrap();
    assert_eq!((tunnels[0].container_port, tunnels[0].port, tunnels[0].unencrypted.is_some()), (8080, 443, false));
    assert!(tunnels[1].unencrypted.is_some());
    sandbox.fs().write("/work/kept", "as it was").await.unwrap();
    let snapshot = sandbox.snapshot_filesystem(Some(Duration::from_secs(60))).await.unwrap();
    sandbox.fs().write("/work/kept", "changed").await.unwrap();
    let other = Sandbox::create(&world.app, &snapshot, &SandboxOptions::new()).await.unwrap();
    assert_eq!(other.fs().read("/work/kept").await.unwrap(), "as it was");
}

#[tokio::test]
async fn a_wrong_token_is_said_and_never_shown() {
    let fake = FakeModal::start(options()).await.unwrap();
    let mut config = config(&fake);
    config.token = Some(Token { id: "ak-fake".to_owned(), secret: "as-SECRET".into() });
    let wrong = Client::new(config).unwrap();
    let error = wrong.app("x").create_if_missing().await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error}");
    assert!(!format!("{error} {error:?} {wrong:?}").contains("SECRET"));
    assert!(matches!(client(&fake).app("no such app").get().await, Err(Error::Invalid { .. })));
    assert!(matches!(client(&fake).app("other").get().await, Err(Error::NotFound { .. })));
}
