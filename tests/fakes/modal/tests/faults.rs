//! Each fault in each operation: the right bytes once, or one clear error of a type, and never a sandbox too many. Prints the matrix.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use agent_host_modal::{Command, Error, Exit, Files, Image, Sandbox, SandboxFilter, SandboxOptions};
use fake_modal::Fault;
use futures_util::TryStreamExt as _;
use support::{World, options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// No operation takes longer, whatever goes wrong: the test's own limit, far above all that the client waits for here.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Copy,
    Create,
    Exec,
    Stdin,
    Stdout,
    FileWrite,
    Wait,
    Terminate,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Copy,
    Operation::Create,
    Operation::Exec,
    Operation::Stdin,
    Operation::Stdout,
    Operation::FileWrite,
    Operation::Wait,
    Operation::Terminate,
];

#[derive(Clone, Debug)]
enum Wrong {
    /// This happens to so many calls of the operation's method.
    Call(Fault, usize),
    /// This happens after some calls went well.
    Later(Fault, usize),
    /// All tokens expire.
    Expired,
    /// The machine answers some time after the creation.
    Late,
    /// The machine is taken away.
    Preempted,
    /// The image cannot be built.
    Unbuildable,
}

/// What has to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    Unavailable,
    Ended,
    BuildFailed,
}

impl Operation {
    /// The method in which it can go wrong.
    fn method(self) -> &'static str {
        match self {
            Self::Copy => "MountPutFile",
            Self::Create => "SandboxCreateV2",
            Self::Exec => "TaskExecStart",
            Self::Stdin => "TaskExecStdinWrite",
            Self::Stdout => "TaskExecStdioRead",
            Self::FileWrite => "TaskExecStdinWriteStream",
            Self::Wait => "TaskExecWait",
            Self::Terminate => "SandboxTerminateV2",
        }
    }

    async fn carry_out(self, world: &World, sandbox: &Sandbox) -> Result<(), Error> {
        let bytes = |count: u32| (0..count).map(|number| (number % 251) as u8).collect::<Vec<u8>>();
        let own = |error: std::io::Error| error.downcast::<Error>().unwrap();
        match self {
            Self::Copy => {
                let files = Files::new().file("million", bytes(1_000_000)).executable("bin/greet", "#!/bin/sh\necho hello\n");
                let image = Image::from_registry("debian:12-slim").copy(files, "/opt/copied").dockerfile_commands(["RUN true other"]);
                let image = image.build(&world.app).await?;
                let created = Sandbox::create(&world.app, &image, &SandboxOptions::new()).await?;
                assert!(created.fs().read("/opt/copied/million").await? == bytes(1_000_000));
                assert_eq!(created.exec(&Command::new("/opt/copied/bin/greet")).await?.finish().await?.stdout, b"hello\n");
                created.terminate().await
            }
            Self::Create => {
                let image = Image::from_registry("debian:12-slim").dockerfile_commands(["RUN true other"]).build(&world.app).await?;
                let options = SandboxOptions::new().tag("cell", "this");
                match Sandbox::create(&world.app, &image, &options).await {
                    Ok(created) => {
                        let finished = created.exec(&Command::new("echo").arg("here")).await?.finish().await?;
                        assert_eq!(finished.stdout, b"here\n");
                        created.terminate().await
                    }
                    Err(error) => {
                        // It may be there all the same.
                        let left = Sandbox::list(&world.app, &SandboxFilter::new().tag("cell", "this")).try_collect::<Vec<_>>().await?;
                        for listed in left {
                            listed.sandbox.terminate().await?;
                        }
                        Err(error)
                    }
                }
            }
            Self::Exec => {
                // It counts how often it ran.
                let finished =
                    sandbox.exec(&Command::new("sh").args(["-c", "echo run >> /work/runs; cat /work/runs"])).await?.finish().await?;
                assert_eq!(finished.stdout, b"run\n");
                Ok(())
            }
            Self::Stdin => {
                let sent = bytes(1_000_000);
                let mut process = sandbox.exec(&Command::new("sha256sum")).await?;
                for chunk in sent.chunks(100_000) {
                    process.stdin.write_all(chunk).await.map_err(own)?;
                }
                process.stdin.shutdown().await.map_err(own)?;
                let finished = process.finish().await?;
                assert_eq!(String::from_utf8(finished.stdout).unwrap(), format!("{}  -\n", sha256(&sent)));
                Ok(())
            }
            Self::Stdout => {
                let script = "i=0; while [ $i -lt 10 ]; do cat /work/million; i=$((i+1)); done";
                let mut process = sandbox.exec(&Command::new("sh").args(["-c", script])).await?;
                let mut came = Vec::new();
                process.stdout.read_to_end(&mut came).await.map_err(own)?;
                assert!(came == bytes(1_000_000).repeat(10), "{} bytes", came.len());
                assert_eq!(process.exec.wait().await?, Exit::Code(0));
                Ok(())
            }
            Self::FileWrite => {
                let content = bytes(1_000_000);
                sandbox.fs().write("/work/written", content.clone()).await?;
                assert!(sandbox.fs().read("/work/written").await? == content);
                Ok(())
            }
            Self::Wait => {
                let process = sandbox.exec(&Command::new("sh").args(["-c", "exit 7"])).await?;
                assert_eq!(process.exec.wait().await?, Exit::Code(7));
                Ok(())
            }
            Self::Terminate => {
                sandbox.terminate().await?;
                sandbox.wait().await?;
                Ok(())
            }
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;

    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn faults() -> Vec<(&'static str, Wrong)> {
    vec![
        ("UNAVAILABLE, twice", Wrong::Call(Fault::Unavailable, 2)),
        ("UNAVAILABLE, for ever", Wrong::Call(Fault::Unavailable, usize::MAX)),
        ("reply lost after the effect", Wrong::Call(Fault::LostReply, 2)),
        ("put off with retry-after", Wrong::Call(Fault::Throttled(Duration::from_millis(120)), 5)),
        ("told to be calmer", Wrong::Call(Fault::Calm, 2)),
        ("no answer, once", Wrong::Call(Fault::Hang, 1)),
        ("UNAUTHENTICATED, once", Wrong::Call(Fault::Unauthenticated, 1)),
        ("JWTs expired", Wrong::Expired),
        ("answer cut before the first byte", Wrong::Call(Fault::Cut(0), 3)),
        ("answer cut in the first frame's head", Wrong::Call(Fault::Cut(3), 3)),
        ("answer cut in a message", Wrong::Call(Fault::Cut(70_001), 40)),
        ("answer cut later", Wrong::Later(Fault::Cut(1_000_003), 5)),
        ("request cut in the middle", Wrong::Call(Fault::CutRequest(300_007), 2)),
        ("request cut in its head", Wrong::Call(Fault::CutRequest(2), 2)),
        ("worker late to accept connections", Wrong::Late),
        ("sandbox preempted", Wrong::Preempted),
        ("image cannot be built", Wrong::Unbuildable),
    ]
}

/// What has to come of a fault in an operation.
fn expected(operation: Operation, wrong: &Wrong) -> Outcome {
    match (wrong, operation) {
        // It goes on waiting while the sandbox runs, which is ended here.
        (Wrong::Call(Fault::Unavailable, usize::MAX), Operation::Wait) => Outcome::Ended,
        (Wrong::Call(Fault::Unavailable, usize::MAX), _) => Outcome::Unavailable,
        // These make another one, and terminating what has ended is harmless.
        (Wrong::Preempted, Operation::Copy | Operation::Create | Operation::Terminate) => Outcome::Right,
        (Wrong::Preempted, _) => Outcome::Ended,
        (Wrong::Unbuildable, Operation::Copy | Operation::Create) => Outcome::BuildFailed,
        _ => Outcome::Right,
    }
}

async fn cell(operation: Operation, wrong: &Wrong) -> (Outcome, Duration) {
    let mut options = options();
    if matches!(wrong, Wrong::Late) {
        options.accepts_in = Duration::from_millis(700);
    }
    let world = World::with(options, agent_host_modal::Backend::V2).await;
    let sandbox = world.sandbox().await;
    if !matches!(wrong, Wrong::Late) {
        let million: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        sandbox.fs().write("/work/million", million).await.unwrap();
    } else if operation == Operation::Stdout {
        sandbox.fs().write("/work/million", (0..1_000_000_u32).map(|number| (number % 251) as u8).collect::<Vec<_>>()).await.unwrap();
    }
    let faults = world.fake.faults();
    match wrong {
        // Only output begins anew with each chunk that comes.
        Wrong::Call(fault @ Fault::Cut(_), times) if operation != Operation::Stdout => {
            faults.next(operation.method(), (*times).min(3), fault.clone())
        }
        Wrong::Later(fault, times) if operation != Operation::Stdout => faults.after(operation.method(), 1, (*times).min(3), fault.clone()),
        Wrong::Call(fault, times) => faults.next(operation.method(), *times, fault.clone()),
        Wrong::Later(fault, times) => faults.after(operation.method(), 1, *times, fault.clone()),
        Wrong::Expired => world.fake.world().expire_tokens(),
        Wrong::Late => {}
        Wrong::Preempted => world.fake.world().running()[0].preempt(),
        Wrong::Unbuildable => world.fake.world().fail_builds_with("RUN true other"),
    }
    if let (Wrong::Call(Fault::Unavailable, usize::MAX), Operation::Wait) = (wrong, operation) {
        let running = world.fake.world().running();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            running[0].preempt();
        });
    }
    let began = std::time::Instant::now();
    let done = tokio::time::timeout(LIMIT, operation.carry_out(&world, &sandbox)).await;
    let took = began.elapsed();
    let outcome = match done.unwrap_or_else(|_| panic!("{operation:?} with {wrong:?} hangs")) {
        Ok(()) => Outcome::Right,
        Err(Error::Unavailable { .. }) => Outcome::Unavailable,
        Err(Error::Ended { .. }) => Outcome::Ended,
        Err(Error::BuildFailed { .. }) => Outcome::BuildFailed,
        Err(error) => panic!("{operation:?} with {wrong:?}: {error:?}"),
    };
    let created = world.fake.world().sandboxes().len() - 1;
    assert!(
        created <= usize::from(matches!(operation, Operation::Copy | Operation::Create)),
        "{operation:?} with {wrong:?} made {created} sandboxes"
    );
    faults.clear();
    sandbox.terminate().await.unwrap();
    assert!(world.fake.world().running().is_empty(), "{operation:?} with {wrong:?} left a sandbox");
    (outcome, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_in_each_operation_ends_well_or_with_one_clear_error() {
    let mut table = format!(
        "| fault | {} |\n|{}\n",
        OPERATIONS.map(|operation| format!("{operation:?}")).join(" | "),
        " --- |".repeat(OPERATIONS.len() + 1)
    );
    let mut wrong_cells = Vec::new();
    for (name, wrong) in faults() {
        // The cells of a row do nothing but wait for most of their time.
        let cells = futures_util::future::join_all(OPERATIONS.map(|operation| cell(operation, &wrong))).await;
        let mut row = Vec::new();
        for (operation, (outcome, took)) in OPERATIONS.into_iter().zip(cells) {
            row.push(format!("{outcome:?} {} ms", took.as_millis()));
            if outcome != expected(operation, &wrong) {
                wrong_cells.push(format!("{name}, {operation:?}: {outcome:?} instead of {:?}", expected(operation, &wrong)));
            }
        }
        table += &format!("| {name} | {} |\n", row.join(" | "));
    }
    println!("{table}");
    assert!(wrong_cells.is_empty(), "{table}\n{}", wrong_cells.join("\n"));
}
