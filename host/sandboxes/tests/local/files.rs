//! Writing and reading, among an agent's links.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use agent_host_session::ports::sandbox::{Content, Error, File, Root, Sandbox};

use crate::support::{Place, file, flushed, path, script, set, shell};

async fn read(sandbox: &dyn Sandbox, name: &str, limit: u64) -> Content {
    tokio::time::timeout(Duration::from_secs(10), sandbox.read(&path(name), limit)).await.expect("reading never blocks").unwrap()
}

async fn bytes(sandbox: &dyn Sandbox, name: &str) -> Option<Vec<u8>> {
    match read(sandbox, name, 1 << 20).await {
        Content::Bytes(bytes) => Some(bytes.to_vec()),
        Content::Absent => None,
        Content::TooLarge { size } => panic!("{name} has {size} bytes"),
    }
}

#[tokio::test]
async fn files_are_laid_down_and_read_back_byte_for_byte() {
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let script_file = File { root: Root::Home, path: path("bin/x"), content: "#!/bin/sh\necho ran\n".into(), executable: true };
        let files = vec![
            file(Root::Workspace, "a/b/binary", &binary),
            file(Root::Workspace, "empty", b""),
            file(Root::Workspace, "ü/💡.txt", b"light"),
            file(Root::Home, ".config/x.json", b"{}"),
            script_file,
        ];
        sandbox.write(files).await.unwrap();
        assert_eq!(bytes(sandbox, "a/b/binary").await.unwrap(), binary);
        assert_eq!(bytes(sandbox, "empty").await.unwrap(), b"");
        assert_eq!(bytes(sandbox, "ü/💡.txt").await.unwrap(), b"light");
        assert_eq!(script(sandbox, "cat ~/.config/x.json; ~/bin/x").await, "{}ran");
        assert_eq!(fs::metadata(place.workspace(sandbox).join("empty")).unwrap().permissions().mode() & 0o777, 0o600);
        sandbox.write(vec![file(Root::Workspace, "a/b/binary", b"new")]).await.unwrap();
        assert_eq!(bytes(sandbox, "a/b/binary").await.unwrap(), b"new");
    }
}

#[tokio::test]
async fn what_is_laid_down_before_the_agent_runs_is_not_reported() {
    let place = Place::open();
    let sandbox = &*place.sandbox().await;
    sandbox.write(vec![file(Root::Workspace, "a/given", b"x"), file(Root::Workspace, "b", b"x")]).await.unwrap();
    assert_eq!(flushed(sandbox).await, set(&[]));
    script(sandbox, "echo y > made; rm b").await;
    assert_eq!(flushed(sandbox).await, set(&["made", "b"]));
}

#[tokio::test]
async fn writing_never_follows_a_link_out() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("victim"), "untouched").unwrap();
        let workspace = place.workspace(sandbox);
        symlink(outside.path(), workspace.join("absolute")).unwrap();
        symlink("../home", workspace.join("relative")).unwrap();
        symlink(outside.path().join("victim"), workspace.join("file")).unwrap();
        for name in ["absolute/x", "absolute/new/x", "relative/x"] {
            let error = sandbox.write(vec![file(Root::Workspace, name, b"evil")]).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        // A link in the place of the file itself is replaced.
        sandbox.write(vec![file(Root::Workspace, "file", b"new")]).await.unwrap();
        assert_eq!(bytes(sandbox, "file").await.unwrap(), b"new");
        assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(place.path(sandbox).join("home")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(place.path(sandbox).join("staging")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn reading_never_follows_a_link_out_and_follows_those_inside() {
    let place = Place::open();
    let sandbox = &*place.sandbox().await;
    let workspace = place.workspace(sandbox);
    fs::create_dir(workspace.join("d")).unwrap();
    fs::write(workspace.join("d/real"), "inside").unwrap();
    fs::write(place.path(sandbox).join("home/secret"), "x").unwrap();
    for (target, link) in [
        ("/etc/passwd", "absolute"),
        ("../home/secret", "relative"),
        ("d/../../home/secret", "winding"),
        ("/etc", "directory"),
        ("loop", "loop"),
        ("nowhere", "dangling"),
        ("d/real", "inside"),
        ("d", "inner"),
    ] {
        symlink(target, workspace.join(link)).unwrap();
    }
    for name in ["absolute", "relative", "winding", "directory/passwd", "loop", "dangling", "none", "d", "d/real/below"] {
        assert_eq!(bytes(sandbox, name).await, None, "{name}");
    }
    assert_eq!(bytes(sandbox, "inside").await.unwrap(), b"inside");
    assert_eq!(bytes(sandbox, "inner/real").await.unwrap(), b"inside");
}

#[tokio::test]
async fn what_is_no_file_is_absent_and_blocks_nobody() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        script(sandbox, "mkfifo pipe; mkdir directory").await;
        let _socket = std::os::unix::net::UnixListener::bind(place.workspace(sandbox).join("socket")).unwrap();
        for name in ["pipe", "directory", "socket"] {
            assert_eq!(bytes(sandbox, name).await, None, "{name}");
        }
    }
}

#[tokio::test]
async fn large_files_are_told_by_their_size() {
    let place = Place::open();
    let sandbox = &*place.sandbox().await;
    let file = fs::File::create(place.workspace(sandbox).join("large")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(read(sandbox, "large", 10 << 20).await, Content::TooLarge { size } if size == 1 << 40));
    file.set_len(10).unwrap();
    assert!(matches!(read(sandbox, "large", 9).await, Content::TooLarge { size: 10 }));
    assert!(matches!(read(sandbox, "large", 10).await, Content::Bytes(bytes) if bytes.len() == 10));
}

#[tokio::test]
async fn an_ended_sandbox_says_so() {
    let place = Place::open();
    let sandbox = &*place.sandbox().await;
    sandbox.terminate().await.unwrap();
    assert!(matches!(sandbox.read(&path("x"), 1).await, Err(Error::Gone(_))));
    assert!(matches!(sandbox.write(vec![file(Root::Home, "x", b"")]).await, Err(Error::Gone(_))));
    assert!(matches!(sandbox.flush_changes().await, Err(Error::Gone(_))));
    assert!(matches!(sandbox.spawn(shell("true")).await, Err(Error::Gone(_))));
}
