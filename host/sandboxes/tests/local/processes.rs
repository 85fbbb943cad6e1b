//! How processes run and end.

use std::fs;
use std::time::{Duration, Instant};

use agent_host_session::ports::sandbox::{Error, Exit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{DEADLINE, Place, command, eventually, finish, processes_with, run, shell};

fn exited(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

fn signalled(signal: i32) -> Exit {
    Exit { code: None, signal: Some(signal) }
}

#[tokio::test]
async fn exit_statuses_and_signals_come_through() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        for code in [0, 1, 42, 128, 255] {
            assert_eq!(run(sandbox, shell(&format!("exit {code}"))).await.exit, exited(code));
        }
        for (name, signal) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
            assert_eq!(run(sandbox, shell(&format!("kill -{name} $$; sleep 10"))).await.exit, signalled(signal));
        }
        let output = run(sandbox, shell("echo out; echo err >&2")).await;
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    }
}

#[tokio::test]
async fn a_megabyte_goes_in_and_comes_out() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let input = "x".repeat(1 << 20);
        let output = finish(sandbox.spawn(command("cat", &[])).await.unwrap(), input.as_bytes()).await;
        assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    }
}

#[tokio::test]
async fn a_line_of_16_megabytes_comes_out_whole() {
    for place in Place::all() {
        let sandbox = &*place.sandbox().await;
        let output = run(sandbox, shell("head -c 16777216 /dev/zero | tr '\\0' a; echo; echo end")).await;
        let lines: Vec<usize> = output.stdout.lines().map(str::len).collect();
        assert_eq!(lines, [16_777_216, 3]);
    }
}

#[tokio::test]
async fn characters_cut_by_the_pipe_arrive_as_they_were() {
    let place = Place::open();
    let sandbox = &*place.sandbox().await;
    // Three bytes each, so that no buffer's size is a multiple.
    let input = "€".repeat(100_000);
    let output = finish(sandbox.spawn(command("cat", &[])).await.unwrap(), input.as_bytes()).await;
    assert!(output.stdout == input);
}

/// Starts a process with a child, a daemon in its own session and an orphan, and waits until all of them run.
async fn start_a_family(
    sandbox: &dyn agent_host_session::ports::sandbox::Sandbox,
    token: &str,
) -> agent_host_session::ports::sandbox::Process {
    let member = format!("sh -c 'echo up; sleep 1000; : {token}'");
    let text = format!("{member} & setsid {member} & (setsid {member} &); wait");
    let mut process = sandbox.spawn(shell(&text)).await.unwrap();
    let mut lines = BufReader::new(&mut process.stdout).lines();
    for _ in 0..3 {
        tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    }
    assert!(processes_with(token) >= 3);
    process
}

#[tokio::test]
async fn terminate_ends_the_whole_tree_and_removes_the_directory() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let token = format!("terminate-{}", sandbox.id());
        let mut process = start_a_family(&*sandbox, &token).await;
        sandbox.terminate().await.unwrap();
        assert_eq!(processes_with(&token), 0);
        assert!(!place.path(&*sandbox).exists());
        assert_eq!(process.control.wait().await.unwrap(), signalled(15));
        sandbox.terminate().await.unwrap();
        assert!(matches!(sandbox.spawn(shell("true")).await, Err(Error::Gone(_))));
        assert!(matches!(sandbox.changes().await, Err(Error::Gone(_))));
    }
}

#[tokio::test]
async fn what_ignores_being_asked_is_killed_after_the_grace() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let mut process = sandbox.spawn(shell("trap '' TERM; echo up; while :; do sleep 1; done")).await.unwrap();
        process.stdout.read_exact(&mut [0; 3]).await.unwrap();
        let begun = Instant::now();
        sandbox.terminate().await.unwrap();
        assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(process.control.wait().await.unwrap(), signalled(9));
    }
}

#[tokio::test]
async fn what_ends_when_asked_can_do_so_in_order() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let mut process = sandbox.spawn(shell("trap 'echo saved; exit 3' TERM; echo up; while :; do sleep 0.1; done")).await.unwrap();
        process.stdout.read_exact(&mut [0; 3]).await.unwrap();
        sandbox.terminate().await.unwrap();
        assert_eq!(process.control.wait().await.unwrap(), exited(3));
        let mut rest = String::new();
        process.stdout.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "saved\n");
    }
}

#[tokio::test]
async fn kill_ends_the_process_with_its_children_at_once() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let token = format!("kill-{}", sandbox.id());
        let mut process = start_a_family(&*sandbox, &token).await;
        process.control.kill();
        assert_eq!(process.control.wait().await.unwrap(), signalled(9));
        assert_eq!(processes_with(&token), 0);
    }
}

#[tokio::test]
async fn what_a_process_leaves_behind_ends_with_it() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let token = format!("orphan-{}", sandbox.id());
        let script = format!("(setsid sh -c 'sleep 1000; : {token}' > /dev/null 2>&1 &); exit 7");
        assert_eq!(run(&*sandbox, shell(&script)).await.exit, exited(7));
        assert_eq!(processes_with(&token), 0);
    }
}

#[tokio::test]
async fn the_end_of_one_process_leaves_the_others_of_its_sandbox_alone() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let other = sandbox.spawn(command("cat", &[])).await.unwrap();
        assert_eq!(run(&*sandbox, shell("exit 1")).await.exit, exited(1));
        let output = finish(other, b"still here").await;
        assert_eq!((output.exit, output.stdout.as_str()), (exited(0), "still here"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_outlives_the_thread_that_asked_for_it() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let runtime = tokio::runtime::Handle::current();
        let process = std::thread::scope(|scope| {
            let thread = scope.spawn(|| runtime.block_on(sandbox.spawn(command("cat", &[]))));
            thread.join().unwrap().unwrap()
        });
        let output = finish(process, b"still here").await;
        assert_eq!((output.exit, output.stdout.as_str()), (exited(0), "still here"));
    }
}

#[tokio::test]
async fn waiting_can_be_given_up_and_begun_again() {
    let place = Place::open();
    let sandbox = place.sandbox().await;
    let mut process = sandbox.spawn(command("cat", &[])).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), process.control.wait()).await.is_err());
    process.stdin.shutdown().await.unwrap();
    drop(process.stdin);
    assert_eq!(process.control.wait().await.unwrap(), exited(0));
    assert_eq!(process.control.wait().await.unwrap(), exited(0));
}

#[tokio::test]
async fn an_early_end_is_told_without_anybody_reading() {
    for place in Place::all() {
        let sandbox = place.sandbox().await;
        let mut process = sandbox.spawn(shell("echo broken >&2; exit 9")).await.unwrap();
        assert_eq!(tokio::time::timeout(DEADLINE, process.control.wait()).await.unwrap().unwrap(), exited(9));
        let mut said = String::new();
        process.stderr.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "broken\n");
    }
}

#[tokio::test]
async fn directories_that_were_closed_are_removed_as_well() {
    let place = Place::open();
    let sandbox = place.sandbox().await;
    run(&*sandbox, shell("mkdir -p a/b; touch a/b/c; chmod 500 a/b; chmod 0 a")).await;
    sandbox.terminate().await.unwrap();
    assert!(!place.path(&*sandbox).exists());
}

#[tokio::test]
async fn what_an_earlier_host_left_is_ended_and_removed() {
    let place = Place::open();
    let sandbox = place.sandbox().await;
    let token = format!("leftover-{}", sandbox.id());
    let process = start_a_family(&*sandbox, &token).await;
    let directory = place.path(&*sandbox);
    // As if that host had been killed: nothing of it is dropped.
    std::mem::forget(sandbox);
    let root = directory.parent().unwrap().to_owned();
    fs::write(root.join("someone-elses"), "x").unwrap();
    let next = agent_host_sandboxes::local::Local::new(agent_host_sandboxes::local::Options::new(&root)).unwrap();
    eventually("the processes are gone", || processes_with(&token) == 0).await;
    assert!(!directory.exists());
    assert!(root.join("someone-elses").exists());
    drop((next, process));
}
