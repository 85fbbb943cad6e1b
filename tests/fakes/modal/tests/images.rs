//! Files in images, against the fake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use agent_host_modal::{Backend, Command, Error, Files, Image, ImageId, Sandbox, SandboxOptions};
use bytes::Bytes;
use fake_modal::Fault;
use support::World;

fn base() -> Image {
    Image::from_registry("debian:12-slim")
}

/// What a sandbox of an image says to a script.
async fn said(world: &World, image: &ImageId, script: &str) -> String {
    let sandbox = Sandbox::create(&world.app, image, &SandboxOptions::new()).await.unwrap();
    let finished = sandbox.exec(&Command::new("sh").args(["-c", script])).await.unwrap().finish().await.unwrap();
    assert!(finished.exit.is_success(), "{finished:?}");
    String::from_utf8(finished.stdout).unwrap()
}

/// The methods that were called since the last time, and the first message of each call.
fn calls(world: &World) -> Vec<(String, Bytes)> {
    world.fake.faults().take_calls().into_iter().map(|call| (call.method, call.messages[0].clone())).collect()
}

fn count(calls: &[(String, Bytes)], method: &str) -> usize {
    calls.iter().filter(|(called, _)| called == method).count()
}

#[tokio::test]
async fn files_are_in_sandboxes_with_their_bytes_and_permissions() {
    let all_bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let files = Files::new()
        .file("readme", "read me")
        .file("empty", "")
        .file("deep/er/all bytes", all_bytes.clone())
        .executable("bin/greet", "#!/bin/sh\necho hello $1\n");
    for backend in [Backend::V2, Backend::V1] {
        let world = World::with(support::options(), backend).await;
        // /opt is one of the directories that the fake shares with this machine.
        for directory in ["/skills", "/opt/with space", "/usr/local/share/x"] {
            let image = base().copy(files.clone(), directory).build(&world.app).await.unwrap();
            let script =
                format!("cd '{directory}' && find . -type f -exec stat -c '%a %s %n' {{}} + | sort && bin/greet you && ls /usr/bin/env");
            let expected = "644 0 ./empty\n644 300000 ./deep/er/all bytes\n644 7 ./readme\n755 24 ./bin/greet\nhello you\n/usr/bin/env\n";
            assert_eq!(said(&world, &image, &script).await, expected);
            let sandbox = Sandbox::create(&world.app, &image, &SandboxOptions::new()).await.unwrap();
            assert!(sandbox.fs().read(&format!("{directory}/deep/er/all bytes")).await.unwrap() == all_bytes);
        }
    }
}

#[tokio::test]
async fn later_layers_have_the_files_of_earlier_ones() {
    let world = World::new().await;
    let image = base()
        .copy(Files::new().file("a", "first").file("b", "first"), "/opt/x")
        .dockerfile_commands(["RUN true"])
        .copy(Files::new().file("b", "second").executable("c/d", "second"), "/opt/x/")
        .copy(Files::new(), "/nothing");
    let image = image.build(&world.app).await.unwrap();
    let script = "cd /opt/x && cat a b c/d && test -x c/d && test ! -e /nothing";
    assert_eq!(said(&world, &image, script).await, "firstsecondsecond");

    let sandbox = Sandbox::create(&world.app, &image, &SandboxOptions::new()).await.unwrap();
    sandbox.fs().write("/opt/x/a", "changed").await.unwrap();
    sandbox.fs().remove("/opt/x/b", false).await.unwrap();
    let snapshot = sandbox.snapshot_filesystem(None).await.unwrap();
    assert_eq!(said(&world, &snapshot, "cd /opt/x && cat a c/d && test ! -e b").await, "changedsecond");
}

#[tokio::test]
async fn the_same_files_are_sent_and_built_once() {
    let world = World::new().await;
    let one = Files::new().file("a", "1").file("b", "2").executable("c", "1");
    let image = base().copy(one, "/work").build(&world.app).await.unwrap();
    let first = calls(&world);
    assert_eq!((count(&first, "MountPutFile"), count(&first, "ImageJoinStreaming")), (2, 1), "what two files have is sent once");

    let same: Files = [("c", "1", true), ("b", "2", false), ("a", "1", false)].into_iter().collect();
    assert_eq!(base().copy(same, "/work/").build(&world.app).await.unwrap(), image);
    let second = calls(&world);
    assert_eq!((count(&second, "MountPutFile"), count(&second, "ImageJoinStreaming")), (0, 0));
    let asked = |calls: Vec<(String, Bytes)>| {
        let is_recipe = |method: &str| matches!(method, "MountGetOrCreate" | "ImageGetOrCreate");
        calls.into_iter().filter(|(method, _)| is_recipe(method)).collect::<Vec<_>>()
    };
    assert_eq!(asked(first), asked(second));

    // Other permissions, another place, another file.
    let others = [
        base().copy(Files::new().file("a", "1").file("b", "2").file("c", "1"), "/work"),
        base().copy(Files::new().file("a", "1").file("b", "2").executable("c", "1"), "/elsewhere"),
        base().copy(Files::new().file("a", "1").file("b", "2").executable("c", "3"), "/work"),
    ];
    for (other, sent) in others.into_iter().zip([0, 0, 1]) {
        assert_ne!(other.build(&world.app).await.unwrap(), image);
        let calls = calls(&world);
        assert_eq!((count(&calls, "MountPutFile"), count(&calls, "ImageJoinStreaming")), (sent, 1));
    }
}

#[tokio::test]
async fn many_files_are_asked_for_in_batches_and_sent_until_modal_has_them() {
    let world = World::new().await;
    let files: Files = (0..150).map(|number| (format!("{number}/file"), format!("contents {number}"), false)).collect();
    // Modal has taken note of these, and does not have them yet.
    world.fake.faults().next("MountPutFile", 3, Fault::Empty);
    let image = base().copy(files, "/work").build(&world.app).await.unwrap();
    let calls = calls(&world);
    assert_eq!((count(&calls, "MountBatchedCheckExistence"), count(&calls, "MountPutFile")), (3, 153));
    assert_eq!(said(&world, &image, "ls /work | wc -l; cat /work/*/file | wc -c").await, "150\n1690\n");
}

#[tokio::test]
async fn files_that_cannot_be_are_refused_before_anything_is_sent() {
    let world = World::new().await;
    let bad = [
        base().copy(Files::new().file("../a", ""), "/work"),
        base().copy(Files::new().file("a", ""), "work"),
        base().copy(Files::new().file("a", vec![0; Files::MAX_FILE_BYTES + 1]), "/work"),
    ];
    for image in bad {
        assert!(matches!(image.build(&world.app).await, Err(Error::Invalid { .. })), "{image:?}");
    }
    let calls = calls(&world);
    assert!(calls.iter().all(|(method, _)| !method.starts_with("Mount")), "{calls:?}");
}
