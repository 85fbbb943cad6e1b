//! A server of `examples/http-store`, which keeps sessions for the adapter `http`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::server::{free_port, serves};

/// How long it may take to install what it needs, and to begin to serve.
const PATIENCE: Duration = Duration::from_secs(180);

/// What hosts show it, or sign with.
pub(crate) const SECRET: &str = "a-token-of-more-than-twenty-four-bytes";

/// A server, with everything that it keeps. It ends when it is dropped.
#[derive(Debug)]
pub struct HttpStore {
    language: &'static str,
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    port: u16,
    child: Option<Child>,
}

#[expect(clippy::expect_used, reason = "this is how a test fails")]
impl HttpStore {
    pub(crate) fn start(language: &'static str, environment: Vec<(&'static str, String)>) -> Self {
        let directory = TempDir::new().expect("failed to make a directory");
        // A copy, since it installs what it needs beside itself. What somebody has built in the source tree is left there.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/http-store").join(language);
        copy(&source, directory.path()).expect("failed to copy a store's sources");
        let mut store = Self { language, directory, environment, port: free_port(), child: None };
        store.resume();
        store
    }

    /// Starts it with what it has kept, and waits until it serves.
    pub fn resume(&mut self) {
        let path = self.directory.path().join("log");
        let log = fs::File::options().create(true).append(true).open(&path).expect("failed to open a log");
        let mut command = Command::new("./start");
        command.current_dir(self.directory.path()).env_clear().process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for name in ["PATH", "HOME"] {
            command.env(name, std::env::var_os(name).unwrap_or_default());
        }
        command.env("STORE_PORT", self.port.to_string()).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = self.child.insert(command.spawn().expect("failed to start a store"));
        let serves = serves(child, self.port, PATIENCE);
        assert!(serves, "the store in {} does not serve: {}", self.language, fs::read_to_string(&path).unwrap_or_default());
    }

    /// Kills it in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_process_group(Pid::from_child(&child), Signal::KILL).expect("failed to kill a store");
            child.wait().expect("failed to wait for a store");
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How hosts show who they are, as the adapter is told: `bearer` or `hmac`.
    pub fn authentication(&self) -> &'static str {
        if self.language == "python" { "bearer" } else { "hmac" }
    }

    /// What they show, or sign with.
    pub fn secret(&self) -> &'static str {
        SECRET
    }
}

impl Drop for HttpStore {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if path.is_file() {
            fs::copy(&path, to.join(name))?;
        } else if !["build", "node_modules"].iter().any(|made| name == *made) {
            fs::create_dir(to.join(&name))?;
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}
