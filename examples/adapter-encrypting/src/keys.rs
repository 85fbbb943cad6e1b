//! Keys: what encrypts and decrypts, under ids that stored bytes name.

use std::fmt;

use agent_host_adapter::{Error, Result};
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::place::Place;

/// Bytes of a key as operators give it.
const SECRET_BYTES: usize = 32;

/// Bytes of a nonce. So many random ones never come twice.
pub(crate) const NONCE_BYTES: usize = 24;

/// Bytes of what proves that nothing was changed.
pub(crate) const TAG_BYTES: usize = 16;

/// What is derived from an operator's key, each for itself: a key that is used elsewhere, too, is another one there.
const ENCRYPTION: &[u8] = b"agent-host-encrypting/1 encryption";
const IDENTIFICATION: &[u8] = b"agent-host-encrypting/1 id";

/// Tells keys from each other, and nothing about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

struct Key {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// The keys of an adapter. They are shown nowhere: nothing here can be printed but ids.
pub(crate) struct Keyring {
    /// What is written is encrypted with this one.
    first: Key,
    /// What was written before the present one was the first.
    earlier: Vec<Key>,
}

/// Why bytes could not be decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// They name a key that is not here.
    UnknownKey(String),
    /// They are not what was written, or not at that place.
    Changed,
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::UnknownKey(text) => Self::other(text),
            OpenError::Changed => Self::corrupt("the stored bytes are not those that were written to this place"),
        }
    }
}

impl Keyring {
    /// Reads keys of 64 hexadecimal digits, with space or commas between them. The first one encrypts, all decrypt.
    ///
    /// # Errors
    /// [`Error::Invalid`] says which key is none; it is not repeated.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let words = text.split(|sign: char| sign == ',' || sign.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let mut keys = Vec::new();
        for (number, word) in (1..).zip(words) {
            let secret = decode(word).ok_or_else(|| Error::invalid(format!("key {number} is not 64 hexadecimal digits")))?;
            let key = Key::derive(&secret)?;
            if keys.iter().any(|other: &Key| other.id == key.id) {
                return Err(Error::invalid(format!("key {number} is there twice, or has the id {} of another one", key.id)));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| Error::invalid("there is no key"))?;
        Ok(Self { first, earlier: keys.collect() })
    }

    /// The key that encrypts.
    pub(crate) fn id(&self) -> KeyId {
        self.first.id
    }

    /// The ids of all, for people.
    pub(crate) fn ids(&self) -> String {
        let ids: Vec<_> = [&self.first].into_iter().chain(&self.earlier).map(|key| key.id.to_string()).collect();
        ids.join(", ")
    }

    /// Encrypts `buffer` where it is, for this place, and gives a proof that also covers `header`, which is not encrypted.
    pub(crate) fn seal(&self, place: &Place, header: &[u8], nonce: &[u8; NONCE_BYTES], buffer: &mut [u8]) -> Result<[u8; TAG_BYTES]> {
        let sealed = self.first.cipher.encrypt_inout_detached(&XNonce::from(*nonce), &place.with(header), buffer.into());
        sealed.map(Into::into).map_err(|_| Error::invalid("too much was to be encrypted at once"))
    }

    /// Decrypts `buffer` where it is.
    pub(crate) fn open(
        &self,
        key: KeyId,
        place: &Place,
        header: &[u8],
        nonce: &[u8; NONCE_BYTES],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), OpenError> {
        let found = [&self.first].into_iter().chain(&self.earlier).find(|candidate| candidate.id == key).ok_or_else(|| {
            OpenError::UnknownKey(format!("the stored bytes are encrypted with the key {key}, and the given ones are: {}", self.ids()))
        })?;
        let opened = found.cipher.decrypt_inout_detached(&XNonce::from(*nonce), &place.with(header), buffer.into(), &Tag::from(*tag));
        opened.map_err(|_| OpenError::Changed)
    }
}

impl Key {
    fn derive(secret: &[u8; SECRET_BYTES]) -> Result<Self> {
        let derived = Hkdf::<Sha256>::new(None, secret);
        let (mut key, mut id) = ([0; 32], [0; 4]);
        derived
            .expand(ENCRYPTION, &mut key)
            .and_then(|()| derived.expand(IDENTIFICATION, &mut id))
            .map_err(|_| Error::invalid("failed to derive a key"))?;
        Ok(Self { id: KeyId(id), cipher: XChaCha20Poly1305::new(&key.into()) })
    }
}

fn decode(word: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits: Vec<u8> = word.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect();
    if digits.len() == 2 * SECRET_BYTES { bytes.try_into().ok() } else { None }
}

/// Random bytes.
pub(crate) fn nonce() -> Result<[u8; NONCE_BYTES]> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| Error::unavailable(format!("there are no random numbers: {error}")))?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[test]
    fn keys_are_read_and_what_is_none_is_refused_without_being_repeated() {
        let ring = Keyring::parse(&format!(" {}\n{},{}\n", key('1'), key('a'), key('F'))).unwrap();
        assert_eq!(ring.ids().split(", ").count(), 3);
        assert!(ring.ids().starts_with(&ring.id().to_string()));
        assert_eq!(Keyring::parse(&key('f')).unwrap().id(), Keyring::parse(&key('F')).unwrap().id());
        let secret = "12345678901234567890123456789012345678901234567890123456789012zz";
        for (text, says) in
            [("", "no key"), (secret, "key 1 is not 64"), ("abcd", "key 1"), (&format!("{0} {0}", key('1')), "key 2 is there twice")]
        {
            let Err(Error::Invalid(error)) = Keyring::parse(text) else { panic!("{text:?} was accepted") };
            assert!(error.contains(says) && !error.contains("1234567890"), "{error}");
        }
    }

    #[test]
    fn what_is_sealed_is_opened_with_the_same_key_at_the_same_place_only() {
        let (ring, place, nonce) = (Keyring::parse(&key('1')).unwrap(), Place::new("a", &["b"]), nonce().unwrap());
        let mut bytes = b"a secret".to_vec();
        let tag = ring.seal(&place, b"header", &nonce, &mut bytes).unwrap();
        assert_ne!(bytes, b"a secret");
        let open = |ring: &Keyring, place: &Place, header: &[u8], bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            ring.open(KeyId(Keyring::parse(&key('1')).unwrap().id().0), place, header, &nonce, &mut bytes, &tag).map(|()| bytes)
        };
        assert_eq!(open(&ring, &place, b"header", &bytes).unwrap(), b"a secret");
        let rotated = Keyring::parse(&format!("{} {}", key('2'), key('1'))).unwrap();
        assert_eq!(open(&rotated, &place, b"header", &bytes).unwrap(), b"a secret");
        assert_eq!(open(&ring, &Place::new("a", &["c"]), b"header", &bytes), Err(OpenError::Changed));
        assert_eq!(open(&ring, &place, b"Header", &bytes), Err(OpenError::Changed));
        assert_eq!(open(&ring, &place, b"header", b"A secret"), Err(OpenError::Changed));
        let Err(OpenError::UnknownKey(text)) = open(&Keyring::parse(&key('3')).unwrap(), &place, b"header", &bytes) else {
            panic!("a key that is not there opened it")
        };
        assert!(text.contains(&ring.id().to_string()), "{text}");
    }
}
