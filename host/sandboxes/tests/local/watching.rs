//! Which changes are reported, and when.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_host_session::ports::sandbox::Sandbox;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::{DEADLINE, Place, changes_with, flushed, script, set, shell};

async fn watched() -> (Place, Box<dyn Sandbox>, PathBuf) {
    let place = Place::open();
    let sandbox = place.sandbox().await;
    let workspace = place.workspace(&*sandbox);
    (place, sandbox, workspace)
}

#[tokio::test]
async fn each_kind_of_change_is_seen_within_a_second() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        for change in ["echo a > file", "echo b >> file", "mv file other; mv other file", "printf '\\377\\000' > file", "rm file"] {
            script(sandbox, change).await;
            let begun = Instant::now();
            changes_with(sandbox, &["file"]).await;
            assert!(begun.elapsed() < Duration::from_secs(1), "{change}: {:?}", begun.elapsed());
            // Whatever came late belongs to this change.
            flushed(sandbox).await;
        }
    }
}

#[tokio::test]
async fn changes_that_follow_each_other_closely_come_together() {
    let (_place, sandbox, workspace) = watched().await;
    for name in ["a", "b", "c"] {
        fs::write(workspace.join(name), "x").unwrap();
    }
    let changes: Vec<String> = sandbox.changes().await.unwrap().into_iter().map(String::from).collect();
    assert_eq!(changes, ["a", "b", "c"]);
}

#[tokio::test]
async fn steady_changes_do_not_put_off_the_report() {
    let (_place, sandbox, _) = watched().await;
    let process = sandbox.spawn(shell("i=0; while :; do i=$((i+1)); echo $i > file; sleep 0.01; done")).await.unwrap();
    for _ in 0..3 {
        let begun = Instant::now();
        changes_with(&*sandbox, &["file"]).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    drop(process);
    sandbox.terminate().await.unwrap();
}

#[tokio::test]
async fn giving_up_waiting_loses_nothing() {
    let (_place, sandbox, workspace) = watched().await;
    let mut seen = BTreeSet::new();
    for number in 0..50 {
        fs::write(workspace.join(number.to_string()), "x").unwrap();
        // From before the settling to after it.
        if let Ok(changes) = tokio::time::timeout(Duration::from_millis(number * 4), sandbox.changes()).await {
            seen.extend(changes.unwrap().into_iter().map(String::from));
        }
    }
    seen.extend(flushed(&*sandbox).await);
    assert_eq!(seen.len(), 50, "{seen:?}");
}

#[tokio::test]
async fn files_in_new_directories_are_seen_however_fast_they_come() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "for i in 1 2 3 4 5; do mkdir -p d$i/e/f; echo x > d$i/e/f/g; echo x > d$i/h; done").await;
    let expected: Vec<String> = (1..=5).flat_map(|i| [format!("d{i}/e/f/g"), format!("d{i}/h")]).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(changes_with(&*sandbox, &expected).await, set(&expected));
    // And they are watched from then on.
    script(&*sandbox, "echo y >> d3/e/f/g; mkdir d4/e/f/new; echo y > d4/e/f/new/file").await;
    assert_eq!(changes_with(&*sandbox, &["d3/e/f/g", "d4/e/f/new/file"]).await, set(&["d3/e/f/g", "d4/e/f/new/file"]));
}

#[tokio::test]
async fn a_renamed_directory_takes_all_its_files_along() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "mkdir -p a/b; echo x > a/1; echo x > a/b/2; echo x > a-b; echo x > a0").await;
    flushed(&*sandbox).await;
    script(&*sandbox, "mv a c").await;
    assert_eq!(flushed(&*sandbox).await, set(&["a/1", "a/b/2", "c/1", "c/b/2"]));
    script(&*sandbox, "echo y > c/b/2; echo y > c/b/3").await;
    assert_eq!(flushed(&*sandbox).await, set(&["c/b/2", "c/b/3"]));
    // There and back, under a name that was used before.
    script(&*sandbox, "mv c a; mkdir c; echo z > c/1; echo z > a/b/2").await;
    flushed(&*sandbox).await;
    script(&*sandbox, "echo y > a/b/3; echo y > c/1").await;
    assert_eq!(flushed(&*sandbox).await, set(&["a/b/3", "c/1"]));
}

#[tokio::test]
async fn directories_moved_in_and_out_and_removed_report_their_files() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "mkdir -p ~/d/e; echo x > ~/d/1; echo x > ~/d/e/2; mv ~/d .").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d/1", "d/e/2"]));
    script(&*sandbox, "mv d ~").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d/1", "d/e/2"]));
    script(&*sandbox, "mv ~/d .").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d/1", "d/e/2"]));
    script(&*sandbox, "rm -r d").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d/1", "d/e/2"]));
    script(&*sandbox, "echo x > d").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d"]));
    script(&*sandbox, "rm d; mkdir d; echo x > d/new").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d", "d/new"]));
    script(&*sandbox, "rm -r d; echo x > d").await;
    assert_eq!(flushed(&*sandbox).await, set(&["d", "d/new"]));
}

#[tokio::test]
async fn a_thousand_files_at_once_are_all_seen() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "mkdir -p many; cd many; for i in $(seq 1000); do : > f$i; done").await;
    assert_eq!(flushed(&*sandbox).await.len(), 1000);
    script(&*sandbox, "rm -r many").await;
    assert_eq!(flushed(&*sandbox).await.len(), 1000);
}

#[tokio::test]
async fn more_events_than_the_system_keeps_are_made_up_for() {
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").map_or(16_384, |text| text.trim().parse().unwrap());
    if limit > 100_000 {
        eprintln!("skipped: the system keeps {limit} events");
        return;
    }
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, &format!("seq {} | xargs touch; rm 1 2 3", limit + 2000)).await;
    let seen = flushed(&*sandbox).await;
    assert!(seen.len() >= limit + 2000 - 3, "{} of {}", seen.len(), limit + 2000);
    script(&*sandbox, "echo x > 4; rm 5").await;
    assert_eq!(flushed(&*sandbox).await, set(&["4", "5"]));
}

#[tokio::test]
async fn ignored_files_and_directories_are_not_reported() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "mkdir -p .git/objects a/node_modules/b/c target; for f in .git/objects/1 a/node_modules/b/c/2 target/3 a/.x.swp a/seen; do echo x > $f; done").await;
    assert_eq!(flushed(&*sandbox).await, set(&["a/seen"]));
    script(&*sandbox, "echo y > .git/objects/1; mv a/node_modules a/kept; rm -r target; echo x > target").await;
    assert_eq!(flushed(&*sandbox).await, set(&["a/kept/b/c/2", "target"]));
}

#[tokio::test]
async fn only_regular_files_are_reported() {
    let (place, sandbox, workspace) = watched().await;
    script(&*sandbox, "mkfifo pipe; mkdir empty; echo x > file").await;
    symlink("file", workspace.join("link")).unwrap();
    symlink("/", workspace.join("root")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(workspace.join("socket")).unwrap();
    assert_eq!(flushed(&*sandbox).await, set(&["file"]));
    // What is behind a link is not watched.
    fs::write(place.directory.path().join("outside"), "x").unwrap();
    assert_eq!(flushed(&*sandbox).await, set(&[]));
    // A file whose place a pipe takes is gone.
    script(&*sandbox, "rm file; mkfifo file").await;
    assert_eq!(flushed(&*sandbox).await, set(&["file"]));
}

#[tokio::test]
async fn names_that_are_no_text_are_passed_over() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "touch \"$(printf 'bad\\377')\" good; mkdir \"$(printf 'dir\\377')\"; touch \"$(printf 'dir\\377')/x\"").await;
    assert_eq!(flushed(&*sandbox).await, set(&["good"]));
}

#[tokio::test]
async fn reading_a_file_is_no_change() {
    let (_place, sandbox, _) = watched().await;
    script(&*sandbox, "echo x > file").await;
    flushed(&*sandbox).await;
    script(&*sandbox, "cat file; ls -R").await;
    assert_eq!(flushed(&*sandbox).await, set(&[]));
}

#[tokio::test]
async fn a_flush_sees_what_was_written_just_before_it() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let mut process = sandbox.spawn(shell("while read name; do mkdir -p $name; echo x > $name/file; echo $name; done")).await.unwrap();
        let mut lines = BufReader::new(&mut process.stdout).lines();
        for number in 0..200 {
            // Now in an old directory, now in a new one.
            let name = format!("d{}", number / 2);
            process.stdin.write_all(format!("{name}\n").as_bytes()).await.unwrap();
            let answer = tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
            assert_eq!(answer.as_deref(), Some(name.as_str()));
            assert_eq!(flushed(sandbox).await, set(&[&format!("{name}/file")]), "number {number}");
        }
    }
}

#[tokio::test]
async fn a_flush_takes_milliseconds() {
    let (_place, sandbox, workspace) = watched().await;
    let begun = Instant::now();
    for number in 0..100 {
        fs::write(workspace.join("file"), number.to_string()).unwrap();
        assert_eq!(flushed(&*sandbox).await, set(&["file"]));
    }
    // Far below the deadline after which everything is looked at, which would hide a cookie that never comes.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn sandboxes_do_not_see_each_others_changes() {
    let place = Place::open();
    let (one, other) = (place.sandbox().await, place.sandbox().await);
    fs::write(place.workspace(&*one).join("file"), "x").unwrap();
    assert_eq!(flushed(&*other).await, set(&[]));
    assert_eq!(flushed(&*one).await, set(&["file"]));
}
