//! Where bytes are stored, which is sealed with them: what is put elsewhere is not what was written there.

/// What everything that is sealed begins with, so that nothing of another version or program is taken for it.
const DOMAIN: &[u8] = b"agent-host-encrypting/1";

/// A place in the store.
pub(crate) struct Place(Vec<u8>);

impl Place {
    /// `kind` says what it is, `names` which one. Two places are the same only if all of it is.
    pub(crate) fn new(kind: &str, names: &[&str]) -> Self {
        let mut bytes = DOMAIN.to_vec();
        for name in [kind].iter().chain(names) {
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        Self(bytes)
    }

    pub(crate) fn stream(session: &str, stream: &str) -> Self {
        Self::new("stream", &[session, stream])
    }

    pub(crate) fn file(session: &str, path: &str) -> Self {
        Self::new("file", &[session, path])
    }

    /// The place, and what stands there besides. Both ends are known, since what follows has one length for each kind of place.
    pub(crate) fn with(&self, header: &[u8]) -> Vec<u8> {
        [&self.0, header].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_apart_however_their_names_are_cut() {
        let places = [("a", &["b", "c"][..]), ("a", &["bc"]), ("ab", &["c"]), ("a", &["", "bc"]), ("a", &["b", "c", ""])];
        for (index, (kind, names)) in places.iter().enumerate() {
            for (kind2, names2) in &places[..index] {
                assert_ne!(Place::new(kind, names).0, Place::new(kind2, names2).0);
            }
        }
    }
}
