//! What is stored as text: names, descriptions, JSON documents.

use agent_host_adapter::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;

use crate::keys::{KeyId, Keyring, nonce};
use crate::place::Place;

const VERSION: u8 = 1;

/// What a text begins with that is encrypted and no JSON.
const MARK: &str = "encrypted:";

/// A JSON object that holds an encrypted one. Members beside it are the adapter's own business.
#[derive(Deserialize)]
struct Wrapped {
    encrypted: String,
}

fn seal(keys: &Keyring, place: &Place, text: &str) -> Result<String> {
    let nonce = nonce()?;
    let header = [&[VERSION][..], &keys.id().0].concat();
    let mut encrypted = text.as_bytes().to_vec();
    let tag = keys.seal(place, &header, &nonce, &mut encrypted)?;
    Ok(STANDARD_NO_PAD.encode([&header[..], &nonce, &encrypted, &tag].concat()))
}

fn open(keys: &Keyring, place: &Place, sealed: &str) -> Result<String> {
    let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| not_encrypted())?;
    let parts = bytes.split_first_chunk().and_then(|(header, rest): (&[u8; 5], _)| {
        let (nonce, rest) = rest.split_first_chunk()?;
        let (encrypted, tag) = rest.split_last_chunk()?;
        Some((header, nonce, encrypted, tag))
    });
    let Some((header @ &[VERSION, key0, key1, key2, key3], nonce, encrypted, tag)) = parts else { return Err(not_encrypted()) };
    let mut text = encrypted.to_vec();
    keys.open(KeyId([key0, key1, key2, key3]), place, header, nonce, &mut text, tag)?;
    String::from_utf8(text).map_err(|_| Error::corrupt("a text that was decrypted is none"))
}

fn not_encrypted() -> Error {
    Error::corrupt("a text was not written by this adapter: it is not encrypted")
}

/// Encrypts a text that need not be JSON.
pub(crate) fn seal_text(keys: &Keyring, place: &Place, text: &str) -> Result<String> {
    Ok(format!("{MARK}{}", seal(keys, place, text)?))
}

/// Decrypts what [`seal_text`] gave.
pub(crate) fn open_text(keys: &Keyring, place: &Place, sealed: &str) -> Result<String> {
    open(keys, place, sealed.strip_prefix(MARK).ok_or_else(not_encrypted)?)
}

/// Encrypts a JSON document as another one, since a store may want to know that it is JSON.
pub(crate) fn seal_json(keys: &Keyring, place: &Place, json: &str) -> Result<String> {
    // Base64 has nothing in it that JSON would escape.
    Ok(format!("{{\"encrypted\":\"{}\"}}", seal(keys, place, json)?))
}

/// Decrypts what [`seal_json`] gave, however the store has written it since.
pub(crate) fn open_json(keys: &Keyring, place: &Place, sealed: &str) -> Result<String> {
    let wrapped: Wrapped = serde_json::from_str(sealed).map_err(|_| not_encrypted())?;
    open(keys, place, &wrapped.encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_others_are_refused() {
        let (keys, place) = (Keyring::parse(&"1".repeat(64)).unwrap(), Place::new("name", &["s"]));
        for text in ["", "ü💡 \u{0}", &"x".repeat(100_000)] {
            assert_eq!(open_text(&keys, &place, &seal_text(&keys, &place, text).unwrap()).unwrap(), text);
        }
        let json = seal_json(&keys, &place, r#"{"a": 1}"#).unwrap();
        assert_eq!(open_json(&keys, &place, &json).unwrap(), r#"{"a": 1}"#);
        let rewritten = json.replace(':', " : ").replace('{', "{\n  \"id\": \"x\", ");
        assert_eq!(open_json(&keys, &place, &rewritten).unwrap(), r#"{"a": 1}"#);
        for other in ["", "a name", "encrypted:", "encrypted:AAAA", "encrypted:ä", &json] {
            assert!(matches!(open_text(&keys, &place, other), Err(Error::Corrupt(_))), "{other}");
        }
        for other in ["", "{}", r#"{"encrypted": 1}"#, r#"{"encrypted": ""}"#, "[]"] {
            assert!(matches!(open_json(&keys, &place, other), Err(Error::Corrupt(_))), "{other}");
        }
    }
}
