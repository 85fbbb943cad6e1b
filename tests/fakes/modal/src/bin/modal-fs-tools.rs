//! What Modal's program for files does, as far as its clients can see: one operation as JSON, contents over the standard streams, one JSON object on standard error if it
//! fails.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use notify::event::{AccessKind, ModifyKind, RenameMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
enum Operation {
    ReadFile { path: PathBuf },
    WriteFile { path: PathBuf },
    ListFiles { path: PathBuf },
    Stat { path: PathBuf },
    MakeDirectory { path: PathBuf, parents: bool },
    Remove { path: PathBuf, recursive: bool },
    Watch { path: PathBuf, recursive: bool },
}

struct Complaint {
    kind: &'static str,
    message: String,
}

impl From<io::Error> for Complaint {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => "NotFound",
            io::ErrorKind::AlreadyExists => "PathAlreadyExists",
            io::ErrorKind::PermissionDenied => "PermissionDenied",
            io::ErrorKind::IsADirectory => "IsDirectory",
            io::ErrorKind::NotADirectory => "NotDirectory",
            io::ErrorKind::DirectoryNotEmpty => "DirectoryNotEmpty",
            _ => "Other",
        };
        Self { kind, message: error.to_string() }
    }
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let done = match serde_json::from_str(&argument) {
        Ok(operation) => carry_out(operation),
        Err(error) => Err(Complaint { kind: "InvalidRequest", message: error.to_string() }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Complaint { kind, message }) => {
            eprintln!("{}", json!({"version": 1, "error_kind": kind, "message": message}));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(operation: Operation) -> Result<(), Complaint> {
    let mut stdout = io::stdout().lock();
    match operation {
        Operation::ReadFile { path } => {
            let mut file = fs::File::open(&path)?;
            if file.metadata()?.is_dir() {
                return Err(Complaint { kind: "IsDirectory", message: "it is a directory".to_owned() });
            }
            io::copy(&mut file, &mut stdout)?;
        }
        Operation::WriteFile { path } => {
            if path.is_dir() {
                return Err(Complaint { kind: "IsDirectory", message: "it is a directory".to_owned() });
            }
            if let Some(parent) = path.parent() {
                // What is there instead is a file.
                fs::create_dir_all(parent).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Complaint { kind: "NotDirectory", message: error.to_string() },
                    _ => error.into(),
                })?;
            }
            io::copy(&mut io::stdin().lock(), &mut fs::File::create(&path)?)?;
        }
        Operation::ListFiles { path } => {
            if !fs::metadata(&path)?.is_dir() {
                return Err(Complaint { kind: "IsFile", message: "it is no directory".to_owned() });
            }
            let mut paths: Vec<PathBuf> = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
            paths.sort();
            let entries: Vec<Value> = paths.iter().map(|path| entry(path)).collect::<io::Result<_>>()?;
            write!(stdout, "{}", Value::from(entries))?;
        }
        Operation::Stat { path } => write!(stdout, "{}", entry(&path)?)?,
        Operation::MakeDirectory { path, parents: true } => fs::create_dir_all(&path)?,
        Operation::MakeDirectory { path, parents: false } => fs::create_dir(&path)?,
        Operation::Remove { path, recursive } => match fs::symlink_metadata(&path)?.is_dir() {
            true if recursive => fs::remove_dir_all(&path)?,
            true => fs::remove_dir(&path)?,
            false => fs::remove_file(&path)?,
        },
        Operation::Watch { path, recursive } => watch(&path, recursive)?,
    }
    stdout.flush()?;
    Ok(())
}

fn entry(path: &Path) -> io::Result<Value> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_file() => "file",
        _ => "other",
    };
    let mut entry = json!({
        "name": path.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy()),
        "path": path,
        "type": kind,
        "size": metadata.size(),
        "mode": metadata.mode(),
        "permissions": format!("{:04o}", metadata.mode() & 0o7777),
        "owner": metadata.uid().to_string(),
        "group": metadata.gid().to_string(),
        "modified_time": metadata.mtime() as f64 + metadata.mtime_nsec() as f64 / 1e9,
    });
    if let (true, Some(fields)) = (kind == "symlink", entry.as_object_mut()) {
        fields.insert("symlink_target".to_owned(), json!(fs::read_link(path)?));
    }
    Ok(entry)
}

/// Prints what happens until standard input ends.
fn watch(path: &Path, recursive: bool) -> Result<(), Complaint> {
    let failed = |error: notify::Error| Complaint { kind: "NotFound", message: error.to_string() };
    let (sender, events) = mpsc::channel();
    let ended = sender.clone();
    let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(Some(event)))).map_err(failed)?;
    watcher.watch(path, if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive }).map_err(failed)?;
    std::thread::spawn(move || {
        // Nothing is written to it.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(None);
    });
    for event in events.iter().map_while(|event| event) {
        let event = event.map_err(failed)?;
        let kind = match event.kind {
            EventKind::Access(AccessKind::Close(_) | AccessKind::Open(_) | AccessKind::Read | AccessKind::Any | AccessKind::Other) => {
                "Access"
            }
            EventKind::Create(_) => "Create",
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => "RenameFrom",
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => "RenameTo",
            EventKind::Modify(ModifyKind::Name(_)) => "Rename",
            EventKind::Modify(_) => "Modify",
            EventKind::Remove(_) => "Remove",
            EventKind::Any | EventKind::Other => "Unknown",
        };
        println!("{}", json!({"event_type": kind, "paths": event.paths}));
    }
    Ok(())
}
