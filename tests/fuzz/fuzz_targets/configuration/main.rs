//! Whatever is in the configuration file: an error that names a place in it, or a configuration that, written as `check-config` shows it, is the same again.
//!
//! The program is a binary with wasmtime behind it, which takes ten minutes to build and is not what is tested here. So its module for the configuration is
//! compiled into this target; the few names of `agent-host-wasm` and `agent-host-registry` in it are found in this crate, which is those crates for it.
#![no_main]

extern crate self as agent_host_registry;
extern crate self as agent_host_wasm;

#[expect(dead_code, unreachable_pub, reason = "it is the program's own module, of which little is used here")]
#[path = "../../../../host/cli/src/config/mod.rs"]
mod config;
#[expect(dead_code, unreachable_pub, reason = "rules are read and not followed here")]
mod grants;
#[expect(unreachable_pub, reason = "it stands for what another crate gives")]
mod postgres;
#[expect(unreachable_pub, reason = "it stands for what another crate gives")]
mod registry;
/// Names of hooks follow the rule of all ids.
mod hooks {
    pub(crate) use agent_host_session::id::ProfileId as Name;
}

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use config::{Error, Loaded, Sources, load};
use libfuzzer_sys::fuzz_target;
// Where the module for the configuration looks for it.
pub(crate) use postgres::PostgresOptions;
pub(crate) use registry::{InvalidReference, Reference};

/// In no message and in nothing that is shown.
const SECRET: &str = "sk-only-the-environment-knows-this";

/// As it is written, and as it is shown.
const FILES: [&str; 2] = ["given.toml", "shown.toml"];

fuzz_target!(|data: &[u8]| {
    let [given, shown] = FILES;
    let loaded = match read(given, data) {
        Ok(loaded) => loaded,
        Err(error) => {
            check_error(&error, data);
            return;
        }
    };
    check_hidden(&loaded.effective, data);
    check_hidden(&format!("{loaded:?}"), data);
    let again = read(shown, loaded.effective.as_bytes())
        .unwrap_or_else(|error| panic!("what check-config shows is refused: {error}\n{}", loaded.effective));
    assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config), "{}", loaded.effective);
    assert_eq!(without_places(&again.effective), without_places(&loaded.effective));
});

fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("key"), format!("{SECRET}\n")).expect("a file");
        fs::write(directory.path().join("own.wasm"), "").expect("a file");
        directory
    });
    directory.path()
}

fn read(file: &str, text: &[u8]) -> Result<Loaded, Error> {
    fs::write(directory().join(file), text).expect("the file can be written");
    let environment = BTreeMap::from(["KEY", "ANTHROPIC_API_KEY"].map(|name| (name.to_owned(), SECRET.to_owned())));
    load(&Sources { file: Some(Path::new(file)), flags: &BTreeMap::new(), environment: &environment, working_dir: directory() })
}

/// The file is named, and a place that is in it.
fn check_error(error: &Error, data: &[u8]) {
    check_hidden(&error.to_string(), data);
    let place = match error {
        Error::Syntax { place, .. } | Error::UnknownKey { place, .. } | Error::BadValue { place, .. } => place.to_string(),
        Error::File { .. } => {
            assert!(std::str::from_utf8(data).is_err(), "{error}");
            return;
        }
        Error::NotUnicode(_) => panic!("{error}"),
    };
    let numbers: Vec<usize> = place.split(':').skip(1).filter_map(|number| number.parse().ok()).collect();
    let [line, column] = numbers[..] else { panic!("{place} is no place in the file: {error}") };
    assert!(place.starts_with(FILES[0]), "{place} is in another file: {error}");
    let text = std::str::from_utf8(data).expect("what is no text is not read");
    // The end of a text that ends with a newline is on a line of its own, and the end of a line is behind its last character.
    let there = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("there is no line {line}: {error}"));
    assert!(column >= 1 && column <= there.chars().count() + 1, "there is no column {column} in line {line}: {error}");
}

fn check_hidden(text: &str, data: &[u8]) {
    let is_given = data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    assert!(is_given || !text.contains(SECRET), "a secret is shown: {text}");
}

/// Each setting's line up to the place where it was given.
fn without_places(effective: &str) -> Vec<&str> {
    effective.lines().map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting)).collect()
}
