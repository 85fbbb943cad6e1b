//! How the server knows who asks. Secrets are shown nowhere: nothing here can be printed.

use std::fmt::Write as _;

use agent_host_adapter::{Epoch, log};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::target::Target;

/// Bytes that a secret should have: as many random ones nobody guesses.
const SECRET_BYTES: usize = 24;

/// What a signature begins with, so that one of a later version of the protocol, or of another protocol with the same secret, is none of this one.
const SIGNED_BY: &str = "agent-host-store/1";

/// What requests show or are signed with.
pub(crate) enum Credentials {
    /// Everybody who reaches the server may use it.
    None,
    /// A token that is sent along.
    Bearer(String),
    /// A secret that is not.
    Hmac(Hmac<Sha256>),
}

/// What a signature is of: all that the server acts on.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'static str,
    pub(crate) target: &'a Target,
    /// Unix milliseconds, by the server's clock.
    pub(crate) deadline: u64,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) key: Option<&'a str>,
    pub(crate) digest: &'a str,
}

impl Credentials {
    pub(crate) fn bearer(secret: &str) -> Result<Self, &'static str> {
        let secret = checked(secret)?;
        if secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self::Bearer(format!("Bearer {secret}")))
        } else {
            Err("a token has only visible ASCII characters, since it is sent in a header")
        }
    }

    pub(crate) fn hmac(secret: &str) -> Result<Self, &'static str> {
        let secret = checked(secret)?;
        Hmac::new_from_slice(secret.as_bytes()).map(Self::Hmac).map_err(|_| "its length is not allowed")
    }

    /// As capability documents call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer(_) => "bearer",
            Self::Hmac(_) => "hmac",
        }
    }

    /// What a signature has of a body, if there is to be one.
    pub(crate) fn digest(&self, body: &[u8]) -> String {
        match self {
            Self::Hmac(_) => hexadecimal(&Sha256::digest(body)),
            Self::None | Self::Bearer(_) => String::new(),
        }
    }

    /// The header `Authorization`.
    pub(crate) fn authorization(&self, signed: &Signed<'_>) -> Option<String> {
        match self {
            Self::None => None,
            Self::Bearer(header) => Some(header.clone()),
            Self::Hmac(mac) => {
                let Signed { method, target, deadline, epoch, key, digest } = signed;
                let epoch = epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
                let key = key.unwrap_or_default();
                let text = format!("{SIGNED_BY}\n{method}\n{target}\n{deadline}\n{epoch}\n{key}\n{digest}");
                Some(format!("HMAC-SHA256 {}", hexadecimal(&mac.clone().chain_update(text).finalize().into_bytes())))
            }
        }
    }
}

fn checked(secret: &str) -> Result<&str, &'static str> {
    // A secret that was read from a file often has a newline at its end.
    let secret = secret.trim();
    if secret.is_empty() {
        return Err("it is empty");
    }
    if secret.len() < SECRET_BYTES {
        log::warn!("the store's secret has {} bytes; at least {SECRET_BYTES} random ones are safe", secret.len());
    }
    Ok(secret)
}

/// Two lower-case digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of more than twenty-four bytes";

    fn authorization(credentials: &Credentials, change: impl FnOnce(&mut Signed<'_>)) -> Option<String> {
        let target =
            Target::new("/stream").with("session", "s").with("stream", "transcript/main").with_number("offset", 0).with_number("staged", 0);
        let digest = credentials.digest(b"hello");
        let (deadline, key) = (1_795_330_039_110, "000102030405060708090a0b0c0d0e0f");
        let mut signed = Signed { method: "POST", target: &target, deadline, epoch: Some(7), key: Some(key), digest: &digest };
        change(&mut signed);
        credentials.authorization(&signed)
    }

    #[test]
    fn a_signature_is_the_one_that_the_readme_shows() {
        let credentials = Credentials::hmac(SECRET).unwrap();
        let expected = "HMAC-SHA256 f8113aedf9a45cf33fddea347817022b4559498c22c179ab13141f974bebf66d";
        assert_eq!(authorization(&credentials, |_| {}).unwrap(), expected);
        assert_eq!(authorization(&Credentials::hmac(&format!("{SECRET}\n")).unwrap(), |_| {}).unwrap(), expected);
    }

    #[test]
    fn a_signature_is_of_all_that_the_server_acts_on() {
        let credentials = Credentials::hmac(SECRET).unwrap();
        let other: &Target = Box::leak(Box::new(Target::new("/stream").with("session", "t")));
        let changed = [
            authorization(&credentials, |signed| signed.method = "PUT"),
            authorization(&credentials, |signed| signed.target = other),
            authorization(&credentials, |signed| signed.deadline += 1),
            authorization(&credentials, |signed| signed.epoch = Some(8)),
            authorization(&credentials, |signed| signed.epoch = None),
            authorization(&credentials, |signed| signed.key = Some("0")),
            authorization(&credentials, |signed| signed.digest = ""),
            authorization(&Credentials::hmac("another secret of more than twenty bytes").unwrap(), |_| {}),
        ];
        for (index, one) in changed.iter().enumerate() {
            assert_ne!(*one, authorization(&credentials, |_| {}));
            assert!(!changed[..index].contains(one), "number {index} is signed like another one");
        }
    }

    #[test]
    fn a_token_is_sent_as_it_is_and_what_cannot_be_one_is_refused() {
        assert_eq!(authorization(&Credentials::bearer(" token\n").unwrap(), |_| {}).unwrap(), "Bearer token");
        assert_eq!(authorization(&Credentials::None, |_| {}), None);
        for secret in ["", " \n", "two words", "ümlaut", "line\nbreak"] {
            assert!(Credentials::bearer(secret).is_err(), "{secret:?}");
        }
        assert!(Credentials::hmac(" \n").is_err());
        assert!(Credentials::hmac("zwei Wörter sind hier gut genug").is_ok());
    }
}
