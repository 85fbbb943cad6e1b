//! The thread that starts processes.
//!
//! bubblewrap asks the kernel to be killed when its parent dies (so that nothing outlives a host that is killed), and for the kernel the parent is the
//! *thread* that started it. A thread of tokio's blocking pool ends after some idle seconds, and any worker can become one: processes started there
//! would be killed out of the blue. So they are all started on this one, which lives as long as any sandbox.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// How many starts may wait. Each takes about a millisecond, and whoever asks for one waits for it anyway.
const QUEUE: usize = 16;

struct Request {
    command: Command,
    inherited: Option<OwnedFd>,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts processes. The thread ends when this is dropped.
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name("sandbox-spawner".to_owned()).spawn(|| run(queue))?;
        Ok(Self { requests })
    }

    /// Starts a process, which inherits the descriptor `inherited` under its own number. When the caller has gone meanwhile, the process is killed (the command must say `kill_on_drop`).
    pub(super) async fn spawn(&self, command: Command, inherited: Option<OwnedFd>) -> io::Result<Child> {
        let (reply, child) = oneshot::channel();
        let request = Request { command, inherited, runtime: Handle::current(), reply };
        let stopped = || io::Error::other("the thread that starts processes has stopped");
        self.requests.send(request).await.map_err(|_| stopped())?;
        child.await.map_err(|_| stopped())?
    }
}

fn run(mut queue: mpsc::Receiver<Request>) {
    while let Some(Request { mut command, inherited, runtime, reply }) = queue.blocking_recv() {
        let _runtime = runtime.enter();
        // It can be inherited only while this one process is started: all others are started before or after it, on this thread.
        let prepared = inherited.as_ref().map_or(Ok(()), |descriptor| fcntl_setfd(descriptor, FdFlags::empty()));
        let child = prepared.map_err(io::Error::from).and_then(|()| command.spawn());
        drop(inherited);
        // A child that nobody takes is killed as it is dropped here.
        let _ = reply.send(child);
    }
}
