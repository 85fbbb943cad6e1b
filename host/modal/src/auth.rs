//! The token that Modal's V2 calls want besides the token id and secret: it is short-lived, and renewed in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::time::Instant;

use crate::Error;

/// How long a token is taken to be good that does not say so.
const ASSUMED_LIFE: Duration = Duration::from_secs(20 * 60);

/// How long a token that could not be renewed is used before that is tried again, first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

#[derive(Clone)]
struct Held {
    token: SecretString,
    renew_at: Instant,
    expires_at: Instant,
    pause: Duration,
}

/// The token, which is fetched when it is first needed.
#[derive(Default)]
pub(crate) struct AuthToken {
    held: Mutex<Option<Held>>,
    renewing: tokio::sync::Mutex<()>,
}

impl AuthToken {
    /// A token that is good: the one that there is, or what `fetch` gives, which is told whether there is none. One renews it at a time, while the others go on with the one before.
    pub(crate) async fn get<F>(&self, fetch: impl FnOnce(bool) -> F) -> Result<SecretString, Error>
    where
        F: Future<Output = Result<SecretString, Error>>,
    {
        if let Some(held) = self.usable() {
            let is_fresh = Instant::now() < held.renew_at;
            let Some(_renewing) = (!is_fresh).then(|| self.renewing.try_lock().ok()).flatten() else { return Ok(held.token) };
            return match fetch(false).await {
                Ok(token) => Ok(self.hold(token)),
                Err(error @ (Error::Unauthenticated { .. } | Error::PermissionDenied { .. })) => Err(error),
                Err(error) => {
                    tracing::warn!(%error, "Modal's token could not be renewed; the one before is used");
                    let pause = (held.pause * 2).clamp(PAUSES.0, PAUSES.1);
                    // It may have been discarded meanwhile.
                    if let Some(present) = self.held.lock().as_mut() {
                        (present.renew_at, present.pause) = (Instant::now() + pause, pause);
                    }
                    Ok(held.token)
                }
            };
        }
        let _renewing = self.renewing.lock().await;
        match self.usable() {
            Some(held) => Ok(held.token),
            None => Ok(self.hold(fetch(true).await?)),
        }
    }

    /// Forgets a token that was refused, although it should be good.
    pub(crate) fn discard(&self, refused: &SecretString) {
        use secrecy::ExposeSecret as _;

        self.held.lock().take_if(|held| held.token.expose_secret() == refused.expose_secret());
    }

    fn usable(&self) -> Option<Held> {
        self.held.lock().clone().filter(|held| Instant::now() < held.expires_at)
    }

    fn hold(&self, token: SecretString) -> SecretString {
        let life = life(&token).unwrap_or(ASSUMED_LIFE);
        // Not all clients at the same moment.
        let until_renewal = life.mul_f64(0.5 + 0.1 * fastrand::f64());
        let now = Instant::now();
        let held = Held { token: token.clone(), renew_at: now + until_renewal, expires_at: now + life, pause: Duration::ZERO };
        *self.held.lock() = Some(held);
        token
    }
}

/// How long a JWT is good from now on, if it says so. Nobody checks its signature here: it is for Modal.
pub(crate) fn life(token: &SecretString) -> Option<Duration> {
    use secrecy::ExposeSecret as _;

    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }

    let claims = URL_SAFE_NO_PAD.decode(token.expose_secret().split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let expires_at = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)?;
    Some(expires_at.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use secrecy::ExposeSecret as _;

    use super::*;

    /// A JWT that is good for so many seconds from the real now.
    fn jwt(seconds: u64, name: &str) -> SecretString {
        let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds;
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp},"name":"{name}"}}"#));
        format!("e30.{claims}.{name}").into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_fetched_once_and_renewed_in_the_second_half_of_its_life() {
        let (token, fetched) = (AuthToken::default(), AtomicUsize::new(0));
        let get = async || {
            let fetch = async |_| Ok(jwt(1000, &fetched.fetch_add(1, Ordering::Relaxed).to_string()));
            token.get(fetch).await.unwrap().expose_secret().split('.').next_back().unwrap().to_owned()
        };
        assert_eq!(get().await, "0");
        tokio::time::advance(Duration::from_secs(490)).await;
        assert_eq!(get().await, "0");
        tokio::time::advance(Duration::from_secs(120)).await;
        assert_eq!(get().await, "1");
        assert_eq!(get().await, "1");
        tokio::time::advance(Duration::from_secs(1001)).await;
        assert_eq!(get().await, "2");
        assert_eq!(fetched.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_renewed_is_used_while_it_is_good_unless_the_caller_is_refused() {
        let token = AuthToken::default();
        token.get(async |_| Ok(jwt(1000, "first"))).await.unwrap();
        tokio::time::advance(Duration::from_secs(700)).await;
        let unavailable = async |_| Err(Error::Unavailable { doing: "getting a token", reason: "no".to_owned() });
        let held = token.get(unavailable).await.unwrap();
        assert!(held.expose_secret().ends_with("first"));
        let nobody = async |_| panic!("it is not tried again at once");
        token.get(nobody).await.unwrap();
        tokio::time::advance(Duration::from_secs(61)).await;
        let refused = async |_| Err(Error::Unauthenticated { doing: "getting a token", reason: "no".to_owned() });
        assert!(matches!(token.get(refused).await, Err(Error::Unauthenticated { .. })));
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(matches!(token.get(unavailable).await, Err(Error::Unavailable { .. })), "it is not good any more");
    }

    #[test]
    fn a_token_that_does_not_say_how_long_it_is_good_is_no_error() {
        for text in ["", "opaque", "a.b.c", "a.e30.c"] {
            assert_eq!(life(&text.into()), None, "{text}");
        }
        assert_eq!(life(&jwt(0, "x")), Some(Duration::ZERO));
    }
}
