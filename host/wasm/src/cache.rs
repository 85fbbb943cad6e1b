//! Machine code on disk: compiled once, loaded in a fraction of a millisecond afterwards.
//!
//! An entry's name is made from the component's digest and from all that its machine code depends on (wasmtime's version, its configuration, the
//! processor), so an entry is never stale. It begins with a digest of what it was made from and of itself: one that was cut short, damaged, or put in
//! another's place is noticed before a byte of it is run.

use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

/// Tells the format; another one would be called otherwise.
const MAGIC: &[u8; 8] = b"AHCACHE2";

/// Length of a SHA-256 digest in bytes.
const DIGEST_BYTES: usize = 32;

/// Entries that are kept: what a host has at work, what it can go back to, and as much again. The largest, of Python's components, have 40 MB.
const MAX_ENTRIES: usize = 64;

/// A directory of machine code.
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The directory is created, for its owner only, if it is not there.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        // What is in it is run.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        Ok(Self { directory })
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The machine code, if it is there and whole. Blocks.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, wasm: &Sha256Digest) -> Option<Component> {
        let path = self.path(engine, wasm);
        let entry = match fs::read(&path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read machine code from the cache; it is compiled anew");
                return None;
            }
        };
        let loaded =
            verified(&entry, wasm).ok_or_else(|| "it is damaged, or was made from another component".to_owned()).and_then(|code| {
                // SAFETY: the bytes are what `store` wrote below, which is what `Component::serialize` gave: their digest says that nothing of it was lost
                // or changed since, and only the host's own user can write to the directory. They are copied out of `entry`, which no file change can reach.
                #[expect(unsafe_code, reason = "the only way to load compiled code; see SAFETY")]
                let component = unsafe { Component::deserialize(engine, code) };
                component.map_err(|error| format!("{error:#}"))
            });
        match loaded {
            Ok(component) => {
                self.touch(&path);
                Some(component)
            }
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "machine code in the cache cannot be used; it is compiled anew");
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "failed to remove it");
                }
                None
            }
        }
    }

    /// Puts the machine code in its place, whole or not at all. Blocks.
    pub(crate) fn store(&self, engine: &wasmtime::Engine, wasm: &Sha256Digest, component: &Component) -> wasmtime::Result<()> {
        let code = component.serialize()?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(MAGIC)?;
        file.write_all(&digest(wasm, &code))?;
        file.write_all(&code)?;
        // Not synced: after a crash of the machine the digest tells, and the component is compiled anew.
        file.persist(self.path(engine, wasm))?;
        self.prune();
        Ok(())
    }

    /// Says that an entry is of use, so that others go first.
    fn touch(&self, path: &Path) {
        let touched = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(path = %path.display(), %error, "failed to note that machine code was used");
        }
    }

    /// Removes the entries that were not used for longest, beyond those that are kept. One that another host is about to read is made anew there.
    fn prune(&self) {
        let Ok(listed) = fs::read_dir(&self.directory) else { return };
        let entry = |entry: fs::DirEntry| {
            let path = entry.path();
            let is_code = path.extension().is_some_and(|extension| extension == "cwasm");
            is_code.then_some(())?;
            Some((entry.metadata().ok()?.modified().ok()?, path))
        };
        let mut entries: Vec<(SystemTime, PathBuf)> = listed.flatten().filter_map(entry).collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(MAX_ENTRIES);
        for (_, path) in entries.into_iter().take(surplus) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "failed to remove machine code that was not used for long");
            }
        }
    }

    fn path(&self, engine: &wasmtime::Engine, wasm: &Sha256Digest) -> PathBuf {
        let mut hasher = DigestHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = Sha256Digest(hasher.0.finalize().into());
        // Half of it is more than enough to tell configurations apart.
        let compatibility: String = compatibility.to_string().chars().take(32).collect();
        self.directory.join(format!("{wasm}-{compatibility}.cwasm"))
    }
}

/// The machine code in an entry whose digest is right.
fn verified<'a>(entry: &'a [u8], wasm: &Sha256Digest) -> Option<&'a [u8]> {
    let rest = entry.strip_prefix(MAGIC)?;
    let (is, code) = rest.split_at_checked(DIGEST_BYTES)?;
    (digest(wasm, code).as_slice() == is).then_some(code)
}

/// Of machine code and what it was made from.
fn digest(wasm: &Sha256Digest, code: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::new().chain_update(wasm.0).chain_update(code).finalize().into()
}

/// The digest of a component's bytes, written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256Digest([u8; DIGEST_BYTES]);

impl Sha256Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Display for Sha256Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The standard library's own hasher gives other values in other versions of it.
struct DigestHasher(Sha256);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first eight bytes; the whole digest is taken from the field.
    fn finish(&self) -> u64 {
        let digest: [u8; DIGEST_BYTES] = self.0.clone().finalize().into();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path().to_owned()).unwrap();
        let path = |number: usize| directory.path().join(format!("{number:02}.cwasm"));
        for number in 0..MAX_ENTRIES + 2 {
            let file = fs::File::create(path(number)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64)).unwrap();
        }
        fs::write(directory.path().join("other"), "x").unwrap();
        cache.touch(&path(0));
        cache.prune();
        let gone: Vec<usize> = (0..MAX_ENTRIES + 2).filter(|number| !path(*number).exists()).collect();
        assert_eq!(gone, [1, 2]);
        assert!(directory.path().join("other").exists());
    }
}
