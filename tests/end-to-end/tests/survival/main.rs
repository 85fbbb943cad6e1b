//! What survives what: a test for each row of the table in the README, which asks for each of its columns.
//!
//! | file | what it is |
//! | --- | --- |
//! | `work.rs` | what each row begins with, and the columns |
//! | `network.rs` | a network that can be cut |
//! | `processes.rs` | the processes of agents |

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod network;
mod processes;
mod work;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_host_tests::{Client, Faults, Frame, Setup, Stream, eventually};
use network::Network;
use processes::{kill_agents, no_agent_runs};
use work::{QUEUED, Ran, Seen, Work};

#[tokio::test]
async fn client_gone() {
    let Some(mut work) = Work::begin(|setup| setup).await else { return };
    drop(work.watcher.take());
    work.api.release();

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::ToItsEnd).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn network_cut() {
    let Some(mut work) = Work::begin_without_queue(|setup| setup).await else { return };
    let network = Network::to(work.host.address()).await;
    let mut watcher = Stream::connect(network.address()).await;
    watcher.join(&work.session).await;
    work.watcher = Some(watcher);
    work.look().await;
    // A message that is accepted, of which the client does not hear.
    let (mut observer, client, session) = (work.host.stream().await, Client::new(network.address(), None), work.session.clone());
    observer.join(&session).await;
    network.cut_answers();
    let unheard = tokio::spawn(async move { client.message_with_id(&session, "unheard", QUEUED).await });
    observer.next("the message", |frame| frame.data["runtime"]["queuedMessages"] == 1).await;
    network.cut();
    let cut_off = work.watcher.take();
    // The client comes back, and sends it again.
    work.client().message_with_id(&work.session, "unheard", QUEUED).await.expect(202);
    work.accepted("unheard", QUEUED);
    work.api.release();

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::ToItsEnd).await;
    work.transcript().await;
    work.workspace_file().await;
    unheard.abort();
    drop(cut_off);
}

#[tokio::test]
async fn agent_killed() {
    let Some(mut work) = Work::begin(|setup| setup).await else { return };
    kill_agents(&work.api);

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::Told("the agent ended before it had answered")).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn sandbox_lost() {
    let Some(mut work) = Work::begin(|setup| setup).await else { return };
    // All at once for the host, which cannot save anything in between.
    work.host.pause();
    kill_agents(&work.api);
    no_agent_runs(&work.api).await;
    fs::remove_dir_all(work.sandbox()).unwrap();
    work.host.wake();

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::Told("the agent ended before it had answered")).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn adapter_failing() {
    let faults = Faults::new();
    let Some(mut work) = Work::begin_without_queue(|setup| faults.configure(setup)).await else { return };
    faults.are("unavailable 100");
    meanwhile_and_afterwards(&mut work, &faults).await;
    let kept = work.host.metrics().await.sum("agent_host_journal_writes_total", &[]);
    assert!(kept >= 10.0, "the journal has kept {kept} writes");
}

#[tokio::test]
async fn adapter_slow() {
    let faults = Faults::new();
    let Some(mut work) = Work::begin_without_queue(|setup| faults.configure(setup)).await else { return };
    // Half a second is waited for; what hangs is given up after two.
    faults.are("slow 70 hang 30");
    meanwhile_and_afterwards(&mut work, &faults).await;
}

async fn meanwhile_and_afterwards(work: &mut Work, faults: &Faults) {
    work.say(QUEUED).await;
    work.write("away.txt", "also words").await;
    work.api.release();

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::ToItsEnd).await;
    faults.are("");
    let waiting = async || work.host.metrics().await.sum("agent_host_journal_waiting", &[]);
    eventually("the journal is empty", async || waiting().await == 0.0).await;
    // What is stored, in the component's database and in a sandbox that is made from it.
    work.transcript().await;
    work.workspace_file().await;
    work.message_accepted().await;
}

#[tokio::test]
async fn host_killed() {
    let Some(mut work) = Work::begin(|setup| setup).await else { return };
    work.watcher = None;
    let sandbox = work.sandbox();
    let sandbox = work.host.data_directory().join("sandboxes").join(sandbox.file_name().unwrap());
    work.host.kill().await;
    // What nobody could tell the host any more.
    fs::write(sandbox.join("workspace/alone.txt"), "last words").unwrap();
    work.wrote("alone.txt", "last words");
    work.host.start_again().await;

    work.event_seen(Seen::Resync).await;
    work.message_accepted().await;
    work.running_turn(Ran::Told("before this turn had ended")).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn host_stopped() {
    let Some(mut work) = Work::begin(|setup| setup.set("session.shutdown_grace", "1s")).await else { return };
    work.watcher = None;
    assert!(work.host.stop().await.success());
    no_agent_runs(&work.api).await;
    work.host.start_again().await;

    work.event_seen(Seen::Resync).await;
    work.message_accepted().await;
    work.running_turn(Ran::Told("interrupted")).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn host_paused() {
    let Some(mut work) = Work::begin_without_queue(|setup| setup).await else { return };
    work.host.pause();
    let (client, session) = (work.client(), work.session.clone());
    let patient = tokio::spawn(async move { client.message_with_id(&session, "patient", QUEUED).await });
    work.api.release();
    eventually("the agent goes on without the host", async || work.agent_wrote("(released)")).await;
    work.host.wake();
    patient.await.unwrap().expect(202);
    work.accepted("patient", QUEUED);

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::ToItsEnd).await;
    work.transcript().await;
    work.workspace_file().await;
}

#[tokio::test]
async fn disk_full() {
    if agent_host_tests::require("unshare").is_none() || agent_host_tests::require("nsenter").is_none() {
        return;
    }
    let on_a_small_disk = |setup: Setup| setup.set("sandbox.local.isolation", "none").on_a_disk_of(96 * 1024 * 1024);
    let Some(mut work) = Work::begin(on_a_small_disk).await else { return };
    let other = work.client().new_session("echo").await;
    work.client().say(&other, "before").await;
    let filler = work.host.data_directory_inside().join("filler");
    fill(&filler);
    // What the database had taken before is room for some more, which another session uses up.
    let (is_full, client) = (AtomicBool::new(false), work.client());
    let using_up = async {
        while !is_full.load(Ordering::Relaxed) {
            // The last one waits until there is room.
            client.message(&other, "x".repeat(500_000)).await.expect(202);
        }
    };
    let (session, mut watcher) = (work.session.clone(), work.watcher.take().unwrap());
    let making_room = async {
        let refused = async || work.host.metrics().await.sum("agent_host_journal_refused_total", &[]) >= 1.0;
        eventually("neither the store nor the journal has room", refused).await;
        is_full.store(true, Ordering::Relaxed);
        let patient = client.message_with_id(&session, "patient", QUEUED);
        let further = async {
            let is_told = |frame: &Frame| frame.event == "error" && frame.data["code"] == "STORE_UNAVAILABLE";
            watcher.next("the word that nothing can be stored", is_told).await;
            client.message_with_id(&session, "refused", QUEUED).await.expect_error(503, "STORE_UNAVAILABLE");
            work.api.release();
            fs::remove_file(&filler).unwrap();
        };
        tokio::join!(patient, further).0.expect(202);
    };
    tokio::join!(using_up, making_room);
    work.watcher = Some(watcher);
    work.accepted("patient", QUEUED);
    // It is sent again, as the answer says.
    let is_taken = async || client.message_with_id(&session, "refused", QUEUED).await.status == 202;
    eventually("the message is taken", is_taken).await;
    work.accepted("refused", QUEUED);

    work.event_seen(Seen::EachLaterOnce).await;
    work.message_accepted().await;
    work.running_turn(Ran::ToItsEnd).await;
    work.transcript().await;
    work.workspace_file().await;
}

/// Fills what is left of the disk on which a file is.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [64 * 1024, 512] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn machine_rebooted() {
    let Some(mut work) = Work::begin(|setup| setup).await else { return };
    work.watcher = None;
    // All at once: none of them sees the end of another.
    work.host.pause();
    kill_agents(&work.api);
    work.host.kill().await;
    no_agent_runs(&work.api).await;
    work.host.start_again().await;

    work.event_seen(Seen::Resync).await;
    work.message_accepted().await;
    work.running_turn(Ran::Told("before this turn had ended")).await;
    work.transcript().await;
    work.workspace_file().await;
}
