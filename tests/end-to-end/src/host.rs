//! A host as a process, with a data directory that outlives it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use fake_modal::FakeModal;
use tempfile::TempDir;

use crate::client::Client;
use crate::operator::Operator;
use crate::process::{End, Process};
use crate::setup::Setup;
use crate::stream::Stream;
use crate::{DEADLINE, fold};

/// So much of a log tells what happened, and can still be read.
const LOG_LINES: usize = 150;

/// A host. When it is dropped, it is ended and its data removed; if the test failed, its log is shown first.
#[derive(Debug)]
pub struct Host {
    setup: Setup,
    directory: TempDir,
    running: Option<Running>,
    /// The Modal at which its sandboxes are, if the tests are about that.
    modal: Option<FakeModal>,
}

#[derive(Debug)]
struct Running {
    process: Process,
    address: String,
}

impl Host {
    /// Starts one, and waits until it listens.
    pub async fn start(setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("agent-host-test-").tempdir().expect("failed to make a directory for the host");
        let (setup, modal) = if setup.is_at_modal { at_modal(setup) } else { (setup, None) };
        let mut host = Self { setup, directory, running: None, modal };
        host.start_again().await;
        host
    }

    /// Starts it on the data of the one that ended.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "the host is running already");
        let mut command = self.command();
        command.arg("--config").arg(self.write_config());
        if let Some(bytes) = self.setup.disk {
            command = on_a_disk_of(bytes, &self.data_directory(), &command);
        }
        let (process, listening) =
            Process::start(&mut command, &self.log_path()).unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
        match tokio::time::timeout(DEADLINE, listening).await {
            Ok(Ok(address)) => self.running = Some(Running { process, address }),
            Ok(Err(_)) => panic!("the host ended before it listened ({:?}); its log:\n{}", process.wait(), self.log()),
            Err(_) => {
                let end = process.end(End::Kill);
                panic!("the host did not listen within {DEADLINE:?} ({end:?}); its log:\n{}", self.log());
            }
        }
    }

    /// Changes its configuration, which is in force when it starts again.
    pub fn configure(&mut self, configure: impl FnOnce(Setup) -> Setup) {
        self.setup = configure(self.setup.clone());
    }

    /// A command that runs the host's binary with its environment, without a subcommand.
    pub fn command(&self) -> Command {
        let home = self.directory.path().join("home");
        fs::create_dir_all(&home).expect("failed to make a home directory for the host");
        let mut command = Command::new(binary());
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("RUST_BACKTRACE", "1")
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Asks it to stop, as a service manager does, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.end(End::Terminate).await
    }

    /// Kills it, as an operating system without memory does.
    pub async fn kill(&mut self) -> ExitStatus {
        self.end(End::Kill).await
    }

    /// Stops its process where it is (SIGSTOP), as a machine does that is suspended.
    pub fn pause(&self) {
        self.running().process.pause(true).expect("failed to pause the host");
    }

    /// Lets it go on (SIGCONT).
    pub fn wake(&self) {
        self.running().process.pause(false).expect("failed to wake the host");
    }

    /// Stops it and starts it on the same data.
    pub async fn restart(&mut self) {
        let status = self.stop().await;
        assert!(status.success(), "the host did not stop well ({status}); its log:\n{}", self.log());
        self.start_again().await;
    }

    async fn end(&mut self, end: End) -> ExitStatus {
        let running = self.running.take().expect("the host is not running");
        let status = tokio::task::spawn_blocking(move || running.process.end(end)).await.expect("failed to wait for the host");
        status.unwrap_or_else(|error| panic!("failed to end the host: {error}; its log:\n{}", self.log()))
    }

    /// `http://127.0.0.1:PORT`. After a restart it is another.
    pub fn base_url(&self) -> &str {
        &self.running().address
    }

    /// `127.0.0.1:PORT`, for tests that write to the socket themselves.
    pub fn address(&self) -> &str {
        self.base_url().trim_start_matches("http://")
    }

    /// The host's process id.
    pub fn process_id(&self) -> u32 {
        self.running().process.id()
    }

    /// The Modal at which its sandboxes are.
    pub fn modal(&self) -> &FakeModal {
        self.modal.as_ref().expect("the host's sandboxes are on this machine")
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the host is not running")
    }

    /// A client with the host's key, if it has one.
    pub fn client(&self) -> Client {
        Client::new(self.base_url(), self.setup.key.as_deref())
    }

    /// The host's operator.
    pub fn operator(&self) -> Operator {
        Operator::new(self.base_url(), &self.data_directory())
    }

    /// A WebSocket with the host's key, if it has one.
    pub async fn stream(&self) -> Stream {
        let mut stream = Stream::connect(self.base_url()).await;
        if let Some(key) = &self.setup.key {
            stream.authenticate(key).await;
        }
        stream
    }

    /// The blocks of GET.
    pub async fn blocks(&self, session: &str) -> fold::Blocks {
        fold::Blocks::of_session(&self.client().session(session).await.expect(200))
    }

    /// Where the host keeps its data.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The data directory as the running host sees it, also where it is on a disk of its own.
    pub fn data_directory_inside(&self) -> PathBuf {
        let data = self.data_directory();
        Path::new("/proc").join(self.process_id().to_string()).join("root").join(data.strip_prefix("/").unwrap_or(&data))
    }

    /// Where the adapter's database is, for a command that runs [beside](Self::beside_the_database) it.
    pub(crate) fn database(&self) -> PathBuf {
        self.setup.database().unwrap_or_else(|| self.data_directory().join("agent-host.db"))
    }

    /// A command that sees the disks that the running host sees.
    pub(crate) fn beside_the_database(&self, program: &Path) -> Command {
        if self.setup.disk.is_none() {
            return Command::new(program);
        }
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target"]).arg(self.process_id().to_string()).arg(program);
        command
    }

    /// A file below the host's directory, beside its data, for what a test lays down.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration, and gives the file's path.
    pub fn write_config(&self) -> PathBuf {
        let path = self.beside("agent-host.toml");
        let data = self.data_directory().to_string_lossy().into_owned();
        let config = self.setup.clone().set("data_dir", data).config;
        let text = toml::to_string(&config).expect("failed to write the configuration as TOML");
        fs::write(&path, text).expect("failed to write the configuration");
        path
    }

    /// The end of what it printed, in all its lives.
    pub fn log(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.beside("host.log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ended as it should be even now, so that it ends the agents that it runs.
        let ended = self.running.take().map(|running| {
            // One that was paused would not notice.
            drop(running.process.pause(false));
            running.process.end(End::Terminate)
        });
        if std::thread::panicking() {
            eprintln!("the host's log:\n{}", self.log());
            if let Some(Err(error)) = ended {
                eprintln!("failed to end the host: {error}");
            }
        }
    }
}

/// The command with a directory that is a disk of so many bytes, in memory.
fn on_a_disk_of(bytes: u64, directory: &Path, command: &Command) -> Command {
    fs::create_dir_all(directory).expect("failed to make the data directory");
    let script = r#"mount -t tmpfs -o "size=$1,mode=0700" tmpfs "$2" && shift 2 && exec "$@""#;
    let mut mounted = Command::new("unshare");
    // The shell becomes the program, so that the process is the host's own.
    mounted.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(bytes.to_string()).arg(directory);
    mounted.arg(command.get_program()).args(command.get_args()).env_clear();
    mounted.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        mounted.current_dir(directory);
    }
    mounted
}

fn at_modal(setup: Setup) -> (Setup, Option<FakeModal>) {
    let mut options = fake_modal::Options::new(fake_modal::fs_tools());
    // What an image would have.
    let directory = setup.agent_directory().filter(|directory| directory.is_dir());
    options.mounts.extend(directory.map(|directory| (directory.clone(), directory.to_string_lossy().into_owned())));
    let modal = FakeModal::start_apart(options).expect("failed to start a fake Modal");
    (setup.with_modal(&modal), Some(modal))
}

/// The binary under test.
fn binary() -> PathBuf {
    let path = match std::env::var_os("AGENT_HOST_BIN") {
        Some(path) => PathBuf::from(path),
        None => profile_directory().join(format!("agent-host{}", std::env::consts::EXE_SUFFIX)),
    };
    assert!(path.is_file(), "the host is not built: there is no {}. Build it with `cargo build -p agent-host`.", path.display());
    path
}

/// `target/debug`: a program's executable is in it, and that of a test in `target/debug/deps`.
fn profile_directory() -> PathBuf {
    let executable = std::env::current_exe().expect("failed to find the test's own executable");
    let directory = executable.parent().expect("the test's executable is not in a target directory");
    let is_deps = directory.file_name().is_some_and(|name| name == "deps");
    directory.ancestors().nth(usize::from(is_deps)).map(Path::to_owned).expect("the test's executable is not in a target directory")
}
