//! Machine code on disk: used when it is whole, made anew when it is not.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use agent_host_session::ports::store::Store;
use agent_host_wasm::{Engine, EngineOptions, Persistence, PersistenceOptions, Source};
use support::options;

async fn load(cache: &Path) {
    let engine = Engine::new(EngineOptions { cache_dir: Some(cache.to_owned()), ..options() }).unwrap();
    let component = engine.load(Source::Builtin("memory".to_owned())).await.unwrap();
    let store = Persistence::start(&engine, component, PersistenceOptions::default()).await.unwrap();
    store.health().await.unwrap();
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Tells whether a file was written anew: each time it is another one.
fn identity(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

#[tokio::test]
async fn the_second_load_is_from_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("deep/cache");
    load(&cache).await;
    let [entry] = &entries(&cache)[..] else { panic!("expected one entry") };
    // An entry that is kept open cannot be replaced by one with the same number.
    let _kept = std::fs::File::open(entry).unwrap();
    let (written, content) = (identity(entry), std::fs::read(entry).unwrap());
    load(&cache).await;
    assert!(entries(&cache) == std::slice::from_ref(entry));
    assert_eq!(identity(entry), written, "it was compiled again");
    assert!(std::fs::read(entry).unwrap() == content);
}

#[tokio::test]
async fn a_damaged_entry_is_noticed_and_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    load(directory.path()).await;
    let entry = entries(directory.path()).remove(0);
    let whole = std::fs::read(&entry).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &flipped, b"AHCACHE2 cut short"] {
        std::fs::write(&entry, damaged).unwrap();
        load(directory.path()).await;
        assert!(std::fs::read(&entry).unwrap() == whole, "an entry with {} bytes was not made anew", damaged.len());
    }
}

#[tokio::test]
async fn an_entry_in_anothers_place_is_noticed_and_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let load = async |name: &str| {
        let engine = Engine::new(EngineOptions { cache_dir: Some(directory.path().to_owned()), ..options() }).unwrap();
        engine.load(Source::Builtin(name.to_owned())).await.unwrap()
    };
    load("sql").await;
    let other = entries(directory.path()).remove(0);
    load("memory").await;
    let own = entries(directory.path()).into_iter().find(|entry| *entry != other).unwrap();
    let right = std::fs::read(&own).unwrap();
    // Whole, and for this machine: what a mistaken restore of the directory may leave.
    std::fs::copy(&other, &own).unwrap();
    load("memory").await;
    assert!(std::fs::read(&own).unwrap() == right);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_only_costs_time() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let engine = Engine::new(EngineOptions { cache_dir: Some(cache.clone()), ..options() }).unwrap();
    std::fs::remove_dir(&cache).unwrap();
    std::fs::write(&cache, "in the way").unwrap();
    engine.load(Source::Builtin("memory".to_owned())).await.unwrap();
}
