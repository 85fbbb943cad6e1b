//! Whatever is given as a path: one that is accepted stays inside the directory that it is joined to, and is written as it was read.
//!
//! An input is a path, and after a newline the path of a directory to put it below.
#![no_main]

use std::path::{Component, Path, PathBuf};

use agent_host_session::path::{MAX_PATH_BYTES, RelativePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, directory) = text.split_once('\n').unwrap_or((text, "directory"));
    let json = serde_json::to_string(text).expect("a text can be written");
    let path = match RelativePath::new(text) {
        Ok(path) => path,
        Err(error) => {
            assert!(error.to_string().len() < 4096, "a refusal is short");
            assert!(serde_json::from_str::<RelativePath>(&json).is_err(), "what is refused is refused when it is read, too");
            return;
        }
    };
    check(&path);
    assert_eq!(path.as_str(), text);
    assert_eq!(serde_json::from_str::<RelativePath>(&json).expect("what is accepted can be read"), path);
    assert_eq!(serde_json::to_string(&path).expect("a path can be written"), json);

    let Ok(directory) = RelativePath::new(directory) else { return };
    match path.below(&directory) {
        Ok(below) => {
            check(&below);
            assert!(Path::new(below.as_str()).starts_with(directory.as_str()));
            assert!(Path::new(below.as_str()).ends_with(path.as_str()));
        }
        Err(_) => assert!(directory.as_str().len() + 1 + path.as_str().len() > MAX_PATH_BYTES, "only too long a path is refused"),
    }
});

/// Follows the path as a system does, and asserts that it goes down with each of its segments.
fn check(path: &RelativePath) {
    let root = Path::new("/root");
    let joined = root.join(path.as_str());
    let mut place = PathBuf::from("/");
    for component in joined.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => place.push(name),
            other => panic!("{path} has {other:?} in it"),
        }
    }
    assert!(place.starts_with(root) && place != root, "{path} leads to {}", place.display());
    assert_eq!(place.as_os_str(), joined.as_os_str(), "{path} is written in one way only");
    assert_eq!(place.components().count() - root.components().count(), path.as_str().split('/').count());
    assert!(!path.as_str().contains('\0') && path.as_str().len() <= MAX_PATH_BYTES);
}
