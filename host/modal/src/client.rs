//! The client: calls to Modal's control plane.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::auth::AuthToken;
use crate::config::{Config, Token};
use crate::proto::client::AuthTokenGetRequest;
use crate::proto::client::modal_client_client::ModalClientClient;
use crate::transport::{self, MAX_MESSAGE_BYTES, PlainText};
use crate::{App, AppLookup, Error, retry};

pub(crate) type Stub = ModalClientClient<Channel>;

/// What a generated call gives.
pub(crate) type Answered<A> = BoxFuture<'static, Result<Response<A>, Status>>;

/// A generated call, to be made as often as it takes.
macro_rules! rpc {
    ($method:ident) => {
        |mut stub, request| Box::pin(async move { stub.$method(request).await })
    };
}
pub(crate) use rpc;

/// How a call to the control plane is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallOptions {
    /// How long one try may take; what the configuration says if absent.
    pub(crate) timeout: Option<Duration>,
    /// What a sandbox was given when it was created.
    pub(crate) sandbox_token: Option<SecretString>,
}

/// The kind of client that Modal takes this for: one of those that are written over its interface in other languages. There is no number for Rust.
const CLIENT_TYPE: &str = "7";

/// Which official client this behaves like.
const CLIENT_VERSION: &str = "1.0.0";

/// A client of Modal. Clones are the same one. It connects when it is first used, and lives as long as the Tokio runtime in which it was made.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: Config,
    stub: Stub,
    metadata: MetadataMap,
    auth: AuthToken,
    warnings: Warnings,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Client {
    /// A client as the environment and `~/.modal.toml` say, see [`Config::from_env`].
    ///
    /// # Errors
    /// [`Error::Config`] says what is missing or makes no sense, or that there is no Tokio runtime.
    pub fn from_env() -> Result<Self, Error> {
        Self::new(Config::from_env()?)
    }

    /// A client of its own configuration.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no token, the URL makes no sense, or there is no Tokio runtime.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Some(Token { id, secret }) = &config.token else {
            return Err(Error::Config("there is no token: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal token new`".to_owned()));
        };
        let channel = transport::channel(&config.server_url, PlainText::Anywhere)?;
        let stub = Stub::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut metadata = MetadataMap::new();
        let mut put = |key: &'static str, value: &str, is_secret: bool| {
            let invalid = |_| Error::Config(format!("what {key} is to be cannot be sent"));
            let mut value = AsciiMetadataValue::try_from(value).map_err(invalid)?;
            value.set_sensitive(is_secret);
            metadata.insert(key, value);
            Ok::<_, Error>(())
        };
        put("x-modal-client-type", CLIENT_TYPE, false)?;
        put("x-modal-client-version", CLIENT_VERSION, false)?;
        put("x-modal-libmodal-version", concat!("agent-host-modal/", env!("CARGO_PKG_VERSION")), false)?;
        put("x-modal-host", &transport::host(&config.server_url), false)?;
        put("x-modal-token-id", id, false)?;
        put("x-modal-token-secret", secret.expose_secret(), true)?;
        Ok(Self(Arc::new(Inner { config, stub, metadata, auth: AuthToken::default(), warnings: Warnings::default() })))
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The app of this name, in which sandboxes and images are.
    pub fn app(&self, name: impl Into<String>) -> AppLookup {
        App::lookup(self.clone(), name.into())
    }

    /// Makes a call, again if it fails in passing and as long as it is put off. All tries have the same key, so that Modal does what is asked for once.
    pub(crate) async fn call<Q, A>(
        &self,
        doing: &'static str,
        options: CallOptions,
        request: Q,
        rpc: fn(Stub, Request<Q>) -> Answered<A>,
    ) -> Result<A, Error>
    where
        Q: Clone,
    {
        let key = Uuid::new_v4().to_string();
        let limit = options.timeout.unwrap_or(self.0.config.call_timeout);
        let mut pauses = retry::control_pauses();
        let (mut retries, mut put_off, mut waited, mut was_refused) = (0_u32, 0_u32, Duration::ZERO, false);
        let mut since: (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let mut outgoing = Request::new(request.clone());
            let metadata = outgoing.metadata_mut();
            let token = self.auth_token().await?;
            *metadata = self.metadata(&token, options.sandbox_token.as_ref())?;
            let pairs = [
                ("x-idempotency-key", Some(key.clone())),
                ("x-retry-attempt", Some(retries.to_string())),
                ("x-throttle-retry-attempt", Some(put_off.to_string())),
                ("x-retry-delay", since.0.map(|since| since.elapsed().as_secs_f64().to_string())),
                ("x-throttle-retry-delay", since.1.map(|since| since.elapsed().as_secs_f64().to_string())),
            ];
            for (name, value) in pairs {
                // Numbers and UUIDs can be sent.
                if let Some(Ok(value)) = value.map(AsciiMetadataValue::try_from) {
                    metadata.insert(name, value);
                }
            }
            let began = Instant::now();
            let status = match tokio::time::timeout(limit, rpc(self.0.stub.clone(), outgoing)).await {
                Ok(Ok(answer)) => {
                    self.0.warnings.tell(answer.metadata());
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            if let Some(pause) = retry::throttle(&status) {
                if !self.may_wait(&mut waited, pause) {
                    return Err(Error::Exhausted { doing, reason: status.message().to_owned() });
                }
                tracing::debug!(doing, ?pause, "Modal puts a call off");
                since.1.get_or_insert(began);
                put_off += 1;
                tokio::time::sleep(pause).await;
                continue;
            }
            if status.code() == Code::Unauthenticated && !was_refused {
                // The short-lived token may have been revoked. If it is the other one, getting another says so.
                was_refused = true;
                self.0.auth.discard(&token);
                continue;
            }
            let pause = if retry::is_passing(&status) { pauses.next() } else { None };
            let Some(pause) = pause else {
                return Err(match status.code() {
                    Code::DeadlineExceeded => Error::TimedOut { doing, limit },
                    _ => Error::from_status(doing, &status),
                });
            };
            tracing::debug!(doing, code = ?status.code(), "a call to Modal failed and is made again");
            since.0.get_or_insert(began);
            retries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Begins a call whose answer comes bit by bit, once.
    pub(crate) async fn stream<Q, A>(
        &self,
        request: Q,
        rpc: fn(Stub, Request<Q>) -> Answered<Streaming<A>>,
    ) -> Result<Streaming<A>, Status> {
        let mut outgoing = Request::new(request);
        let refused = |error| match error {
            Error::Unauthenticated { reason, .. } => Status::unauthenticated(reason),
            error => Status::unavailable(error.to_string()),
        };
        let token = self.auth_token().await.map_err(refused)?;
        *outgoing.metadata_mut() = self.metadata(&token, None).map_err(refused)?;
        let began = rpc(self.0.stub.clone(), outgoing);
        let answer = tokio::time::timeout(self.0.config.call_timeout, began).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))).map(Response::into_inner)
    }

    /// Whether a call that is put off may wait so long, after what it has waited.
    pub(crate) fn may_wait(&self, waited: &mut Duration, pause: Duration) -> bool {
        *waited = waited.saturating_add(pause);
        self.0.config.max_throttle_wait.is_none_or(|limit| *waited <= limit)
    }

    async fn auth_token(&self) -> Result<SecretString, Error> {
        self.0.auth.get(|is_needed| self.fetch_auth_token(is_needed)).await
    }

    fn metadata(&self, token: &SecretString, sandbox_token: Option<&SecretString>) -> Result<MetadataMap, Error> {
        let mut metadata = self.0.metadata.clone();
        for (name, token) in [("x-modal-auth-token", Some(token)), ("x-modal-sandbox-token", sandbox_token)] {
            let Some(token) = token else { continue };
            let mut value = AsciiMetadataValue::try_from(token.expose_secret())
                .map_err(|_| Error::protocol("getting a token", "the token cannot be sent in a header"))?;
            value.set_sensitive(true);
            metadata.insert(name, value);
        }
        Ok(metadata)
    }

    /// Whoever has a token that is still good does not try for long to get another.
    async fn fetch_auth_token(&self, is_needed: bool) -> Result<SecretString, Error> {
        const DOING: &str = "getting a token";
        /// For one try: whoever renews a token has one, and goes on with that.
        const LIMIT: Duration = Duration::from_secs(5);

        let (mut pauses, mut waited) = (retry::control_pauses(), Duration::ZERO);
        loop {
            let mut request = Request::new(AuthTokenGetRequest {});
            *request.metadata_mut() = self.0.metadata.clone();
            let mut stub = self.0.stub.clone();
            let status = match tokio::time::timeout(LIMIT, stub.auth_token_get(request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner().token.into()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            let throttle = retry::throttle(&status).filter(|pause| self.may_wait(&mut waited, *pause));
            let pause = throttle.or_else(|| pauses.next().filter(|_| retry::is_passing(&status))).filter(|_| is_needed);
            let Some(pause) = pause else { return Err(Error::from_status(DOING, &status)) };
            tokio::time::sleep(pause).await;
        }
    }
}

/// What Modal wants people to be told. It says so with each answer.
#[derive(Default)]
struct Warnings(Mutex<HashSet<String>>);

impl Warnings {
    /// So many texts are remembered. There are a few, unless something in them is another each time.
    const REMEMBERED: usize = 100;

    fn tell(&self, metadata: &MetadataMap) {
        if let Some(warning) = self.new_one(metadata) {
            tracing::warn!(%warning, "Modal warns");
        }
    }

    /// A text that was not told yet.
    fn new_one(&self, metadata: &MetadataMap) -> Option<String> {
        let warning = metadata.get("x-modal-warning")?.to_str().ok()?;
        let warning = percent_encoding::percent_decode_str(warning).decode_utf8_lossy().into_owned();
        let mut told = self.0.lock();
        (told.len() < Self::REMEMBERED && told.insert(warning.clone())).then_some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_is_told_once_and_not_too_many_are() {
        let warnings = Warnings::default();
        let new_one = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("x-modal-warning", text.parse().unwrap());
            warnings.new_one(&metadata)
        };
        assert_eq!(new_one("too%20old").as_deref(), Some("too old"));
        assert_eq!(new_one("too%20old"), None);
        assert_eq!(new_one("slow").as_deref(), Some("slow"));
        assert_eq!((0..1000).filter_map(|number| new_one(&number.to_string())).count(), Warnings::REMEMBERED - 2);
        assert_eq!(warnings.new_one(&MetadataMap::new()), None);
    }
}
