//! A PostgreSQL server of a test's own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server::free_port;

/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it asks for.
pub(crate) const PASSWORD: &str = "s3cret/of the:test@";

/// The same, as a URL has it.
const QUOTED_PASSWORD: &str = "s3cret%2Fof%20the%3Atest%40";

/// A server with a data directory of its own, on a port of its own at 127.0.0.1. It ends, and its data goes, when this is dropped.
///
/// Its methods panic if what they are asked for cannot be had: a test fails by that.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    child: Option<Child>,
    settings: Vec<String>,
}

/// How the server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ends its clients' connections, and what they had not committed, and writes down the rest. As an operator does it.
    Fast,
    /// It is killed in the middle of whatever it does.
    Kill,
}

/// Where the server's programs are. Debian's are not in the `PATH`, where some machines have a part of them.
pub(crate) fn find() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path().join("bin"));
    let in_path = which::which_all("initdb").into_iter().flatten().filter_map(|initdb| initdb.parent().map(Path::to_owned));
    let is_whole = |directory: &PathBuf| PROGRAMS.iter().all(|program| directory.join(program).is_file());
    let newest = versions.filter(is_whole).max();
    newest
        .or_else(|| in_path.into_iter().find(is_whole))
        .ok_or_else(|| format!("neither a directory of the PATH nor /usr/lib/postgresql has {}", PROGRAMS.join(", ")))
}

/// What a test needs of it.
const PROGRAMS: [&str; 4] = ["initdb", "pg_isready", "postgres", "psql"];

#[expect(clippy::panic, reason = "this is how a test fails")]
impl PostgresServer {
    pub(crate) fn start(programs: PathBuf) -> Self {
        let directory = TempDir::new().unwrap_or_else(|error| panic!("failed to make a directory: {error}"));
        let mut server = Self { programs, directory, port: 0, child: None, settings: Vec::new() };
        server.initialise().unwrap_or_else(|error| panic!("failed to make a PostgreSQL server: {error}"));
        // Another program may take the port that was free a moment ago.
        let mut started = Err(String::new());
        for _ in 0..5 {
            server.port = free_port();
            started = server.try_resume();
            if started.is_ok() {
                break;
            }
        }
        started.unwrap_or_else(|error| panic!("{error}"));
        server
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn initialise(&self) -> io::Result<()> {
        let password = self.directory.path().join("password");
        fs::write(&password, PASSWORD)?;
        fs::create_dir(self.data())?;
        if is_root() {
            // The server refuses to run as root, so what it needs is somebody else's.
            std::os::unix::fs::chown(self.directory.path(), Some(NOBODY), None)?;
            std::os::unix::fs::chown(self.data(), Some(NOBODY), None)?;
            std::os::unix::fs::chown(&password, Some(NOBODY), None)?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(&password);
        initdb.args(["--username=agent", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]);
        let output = initdb.output()?;
        if output.status.success() { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())) }
    }

    /// One of the server's programs, run as somebody who is not root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.stdin(Stdio::null()).env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir(self.directory.path());
        if is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        }
        command
    }

    /// The URL of one of its databases: `postgres` is there from the beginning.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://agent:{QUOTED_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same without the password, which is the second.
    pub fn url_and_password(&self, database: &str) -> (String, &'static str) {
        (format!("postgres://agent@127.0.0.1:{}/{database}", self.port), PASSWORD)
    }

    /// Makes a database, and gives its URL.
    pub fn create_database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Has `psql` run a statement, and gives the rows, one a line, with `|` between their columns.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output =
            self.command("psql").arg(self.url(database)).args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]).output();
        let output = output.unwrap_or_else(|error| panic!("failed to run psql: {error}"));
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Starts it with these settings, such as `max_connections=20`, from now on; it is stopped before.
    pub fn restart_with(&mut self, settings: &[&str]) {
        self.stop(Stop::Fast);
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self.resume();
    }

    /// Makes a certificate for it, signed by itself, and gives the file: with it, `ssl=on` is a setting. It is valid for the address 127.0.0.1.
    pub fn certify(&self) -> PathBuf {
        let (certificate, key) = (self.data().join("server.crt"), self.data().join("server.key"));
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
        ]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        let output = openssl.output().unwrap_or_else(|error| panic!("failed to run openssl: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if is_root() {
            for file in [&certificate, &key] {
                std::os::unix::fs::chown(file, Some(NOBODY), None).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        certificate
    }

    /// Ends it. What it has committed is there when it is [resumed](Self::resume).
    pub fn stop(&mut self, how: Stop) {
        let Some(mut child) = self.child.take() else { return };
        let signal = match how {
            Stop::Fast => Signal::INT,
            // Immediate: the postmaster ends its children, too.
            Stop::Kill => Signal::QUIT,
        };
        kill_process(Pid::from_child(&child), signal).unwrap_or_else(|error| panic!("failed to stop PostgreSQL: {error}"));
        if wait(|| child.try_wait().is_ok_and(|status| status.is_some())).is_err() {
            let _ = child.kill();
            panic!("PostgreSQL did not stop within {PATIENCE:?}");
        }
    }

    /// Starts it on the same port with the same data, and waits until it answers.
    pub fn resume(&mut self) {
        self.try_resume().unwrap_or_else(|error| panic!("{error}"));
    }

    fn try_resume(&mut self) -> Result<(), String> {
        let port = self.port.to_string();
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &port, "-h", "127.0.0.1", "-k", ""]);
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        let log = self.directory.path().join("log");
        let file = fs::File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let child = postgres.stdout(Stdio::null()).stderr(file).spawn().map_err(|error| format!("failed to run postgres: {error}"))?;
        let child = self.child.insert(child);
        let mut ended = false;
        let programs = &self.programs;
        let started = wait(|| {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            let is_ready = || Command::new(programs.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            ended || is_ready().is_ok_and(|status| status.success())
        });
        if started.is_ok() && !ended {
            return Ok(());
        }
        Err(format!("PostgreSQL did not start: {}", fs::read_to_string(log).unwrap_or_default()))
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing is kept, so nothing has to be written down.
            let _ = kill_process(Pid::from_child(&child), Signal::QUIT);
            if wait(|| child.try_wait().is_ok_and(|status| status.is_some())).is_err() {
                let _ = child.kill();
            }
        }
    }
}

/// The user and group that own nothing else.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn wait(mut done: impl FnMut() -> bool) -> Result<(), ()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return Err(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
