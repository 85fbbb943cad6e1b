//! Signatures by the Standard Webhooks convention.

use agent_host_hook::log;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret begins with whose rest is base64.
const PREFIX: &str = "whsec_";

/// Bytes of a key that the convention wants at least.
const KEY_BYTES: usize = 24;

/// What requests are signed with. It is shown nowhere.
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// From `whsec_` and base64, or from any other text.
    pub(crate) fn new(secret: &str) -> Result<Self, &'static str> {
        // A secret that was read from a file often has a newline at its end.
        let secret = secret.trim();
        let key = match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "what follows whsec_ is not base64")?,
            None => secret.as_bytes().to_owned(),
        };
        if key.is_empty() {
            return Err("it is empty");
        }
        if key.len() < KEY_BYTES {
            log::warn!("the secret of the webhook has {} bytes; at least {KEY_BYTES} random ones are safe", key.len());
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| "its length is not allowed")
    }

    /// The signature of a request, for the header `webhook-signature`. `timestamp` is in Unix seconds.
    pub(crate) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &str) -> String {
        let body = br#"{"test": 2432232314}"#;
        Key::new(secret).unwrap_or_else(|reason| panic!("{reason}")).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    }

    #[test]
    fn signatures_are_those_of_the_conventions_own_libraries() {
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), expected);
        assert_eq!(sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), expected);
    }

    #[test]
    fn a_plain_text_is_the_key_itself() {
        let text = "a secret of twenty-four!";
        assert_eq!(sign(text), sign(&format!("{PREFIX}{}", STANDARD.encode(text))));
        assert_ne!(sign(text), sign("another secret that is long"));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for secret in ["", " \n", "whsec_", "whsec_%", "whsec_abc"] {
            assert!(Key::new(secret).is_err(), "{secret:?}");
        }
    }
}
