//! That nothing is left of a sandbox when it is dropped. On its own, since it counts what this process has.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use agent_host_sandboxes::local::{Isolation, Local, Options};
use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::ports::sandbox::{Command, Provider, Spec};
use tokio::io::AsyncReadExt;

/// Threads of this process whose names begin with `name`.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))).count()
}

/// Processes, dead ones too, whose parent is this one.
fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let parent = |stat: String| stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1).map(str::to_owned));
    processes.filter(|process| fs::read_to_string(process.path().join("stat")).ok().and_then(parent).as_deref() == Some(&own)).count()
}

fn processes_with(text: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text)))
        .count()
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came about that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_dropped_sandbox_leaves_no_process_no_directory_no_thread_and_no_task() {
    for isolation in [Isolation::None, Isolation::Auto] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("sandboxes");
        let local = Local::new(Options { isolation, ..Options::new(&root) }).unwrap();
        eventually("the threads have their names", || (threads("sandbox-spawner"), threads("notify-rs")) == (1, 1)).await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();

        let mut sandboxes = Vec::new();
        let mut processes = Vec::new();
        for _ in 0..5 {
            let spec = Spec::new(SessionId::new("s").unwrap(), Epoch(1));
            let sandbox = local.start(spec, &|_| {}).await.unwrap().sandbox;
            let script = "(setsid sh -c 'sleep 1000; : leak-test' &); mkdir -p a/b; echo x > a/b/c; echo up; sleep 1000; : leak-test";
            let command = Command { program: "sh".to_owned(), args: vec!["-c".to_owned(), script.to_owned()], env: Vec::new() };
            let mut process = sandbox.spawn(command).await.unwrap();
            process.stdout.read_exact(&mut [0; 3]).await.unwrap();
            sandboxes.push(sandbox);
            processes.push(process);
        }
        // All five are watched by one thread, and started by one.
        assert_eq!((threads("sandbox-spawner"), threads("notify-rs")), (1, 1));
        assert!(processes_with("leak-test") >= 10);

        drop(sandboxes);
        eventually("the processes are gone", || processes_with("leak-test") == 0).await;
        eventually("they were reaped", || children() == 0).await;
        eventually("the directories are gone", || fs::read_dir(&root).unwrap().count() == 1).await;
        eventually("the removal is over", || threads("sandbox-removal") == 0).await;
        for mut process in processes {
            assert_eq!(process.control.wait().await.unwrap().signal, Some(9));
        }
        eventually("the tasks are over", || tokio::runtime::Handle::current().metrics().num_alive_tasks() == tasks).await;

        drop(local);
        eventually("the threads are gone", || threads("sandbox-spawner") + threads("notify-rs") == 0).await;
    }
}
