//! The machine on which a sandbox is: where its commands go.

mod input;
mod output;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

pub use self::input::Stdin;
pub use self::output::Output;
use crate::client::{Answered, rpc};
use crate::proto::client::CommandRouterAccess;
use crate::proto::task_command_router::TaskSnapshotFilesystemRequest;
use crate::proto::task_command_router::task_command_router_client::TaskCommandRouterClient;
use crate::sandbox::Handle;
use crate::transport::{self, MAX_MESSAGE_BYTES, PlainText};
use crate::{Error, retry};

pub(crate) type Stub = TaskCommandRouterClient<Channel>;

/// How long the control plane may take to learn of a sandbox's end.
const ENDING: Duration = Duration::from_secs(5);

/// How long a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(55);

/// The way to one sandbox's machine. It connects when it is used, and again after a connection was lost.
pub(crate) struct Router {
    sandbox: Arc<Handle>,
    task_id: String,
    access: Mutex<Access>,
    /// Held by whoever asks for another access.
    renewing: tokio::sync::Mutex<()>,
    /// Whether it was reached once: before, the machine may still be starting.
    was_reached: AtomicBool,
}

#[derive(Clone)]
struct Access {
    url: String,
    stub: Stub,
    authorization: AsciiMetadataValue,
}

/// A call that did not succeed.
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) error: Error,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Router {
    pub(crate) fn new(sandbox: Arc<Handle>, task_id: String, access: &CommandRouterAccess) -> Result<Self, Error> {
        let access = Mutex::new(Access::new(access)?);
        Ok(Self { sandbox, task_id, access, renewing: tokio::sync::Mutex::new(()), was_reached: AtomicBool::new(false) })
    }

    pub(crate) fn task_id(&self) -> &str {
        &self.task_id
    }

    /// Makes a call, again if it fails in passing: all of them can be made again. In all it takes no longer than `limit`, if there is one.
    pub(crate) async fn call<Q, A>(
        &self,
        doing: &'static str,
        limit: Option<Duration>,
        request: Q,
        rpc: fn(Stub, Request<Q>) -> Answered<A>,
    ) -> Result<A, Failed>
    where
        Q: Clone,
    {
        let tries = async {
            let mut recovery = Recovery::new(self, doing);
            loop {
                let access = self.access();
                let attempt = rpc(access.stub.clone(), access.authorize(request.clone()));
                // With a limit for all tries, one may take all of it.
                let status = match tokio::time::timeout(limit.unwrap_or(self.try_timeout()), attempt).await {
                    Ok(Ok(answer)) => {
                        self.was_reached.store(true, Ordering::Relaxed);
                        return Ok(answer.into_inner());
                    }
                    Ok(Err(status)) => status,
                    Err(_) => Status::deadline_exceeded("no answer"),
                };
                recovery.after(&access, status).await?;
            }
        };
        match limit {
            Some(limit) => tokio::time::timeout(limit, tries)
                .await
                .unwrap_or_else(|_| Err(Failed { code: Code::DeadlineExceeded, error: Error::TimedOut { doing, limit } })),
            None => tries.await,
        }
    }

    /// Begins a call whose answer comes bit by bit. A server may say nothing at all before the first bit, so this waits for as long as it takes.
    async fn stream<Q: Clone, A>(
        &self,
        access: &Access,
        request: Q,
        rpc: fn(Stub, Request<Q>) -> Answered<Streaming<A>>,
    ) -> Result<Streaming<A>, Status> {
        let mut begun = rpc(access.stub.clone(), access.authorize(request.clone()));
        let answer = loop {
            match tokio::time::timeout(self.try_timeout(), &mut begun).await {
                Ok(answer) => break answer?,
                Err(_) if self.sandbox_end().await.is_some() => return Err(Status::not_found("the sandbox has ended")),
                // Nothing may have been printed yet, or the call may have got lost: it costs nothing to make it again.
                Err(_) => begun = rpc(access.stub.clone(), access.authorize(request.clone())),
            }
        };
        self.was_reached.store(true, Ordering::Relaxed);
        Ok(answer.into_inner())
    }

    pub(crate) async fn snapshot_filesystem(&self, keep: Option<Duration>, id: Uuid) -> Result<String, Error> {
        const DOING: &str = "making an image of a sandbox's files";
        let keep = keep.map(|keep| crate::sandbox::whole_seconds(DOING, keep)).transpose()?;
        let request = TaskSnapshotFilesystemRequest {
            task_id: self.task_id.clone(),
            snapshot_id: id.to_string(),
            ttl_seconds: Some(keep.map_or(-1, i64::from)),
        };
        Ok(self.call(DOING, Some(SNAPSHOT_TIMEOUT), request, rpc!(task_snapshot_filesystem)).await?.image_id)
    }

    /// The same error, or that the sandbox has ended, if that is why.
    pub(crate) async fn explain(&self, failed: Failed) -> Failed {
        // What the caller did wrong has nothing to do with it.
        if matches!(failed.code, Code::InvalidArgument | Code::AlreadyExists | Code::Unimplemented | Code::ResourceExhausted) {
            return failed;
        }
        // The machine may know of an end before the control plane does.
        let patience = if failed.code == Code::NotFound { ENDING } else { Duration::ZERO };
        match self.sandbox.wait_for(patience).await {
            Ok(Some(end)) => Failed { error: self.sandbox.ended(end), ..failed },
            _ => failed,
        }
    }

    /// That the sandbox has ended, if it has and Modal can be asked.
    pub(crate) async fn sandbox_end(&self) -> Option<Error> {
        self.sandbox.poll().await.ok().flatten().map(|end| self.sandbox.ended(end))
    }

    /// How long one try of a call may take that answers at once.
    pub(crate) fn try_timeout(&self) -> Duration {
        self.sandbox.client().config().call_timeout
    }

    fn access(&self) -> Access {
        self.access.lock().clone()
    }

    /// Asks for another access than the one that was refused, unless somebody else has done so.
    async fn renew(&self, refused: &Access) -> Result<(), Error> {
        let _renewing = self.renewing.lock().await;
        if self.access.lock().authorization != refused.authorization {
            return Ok(());
        }
        let access = self.sandbox.router_access(&self.task_id).await?;
        let is_elsewhere = access.url != refused.url;
        let new = Access::new(&access)?;
        let mut held = self.access.lock();
        // The connection is as good as before.
        *held = if is_elsewhere { new } else { Access { authorization: new.authorization, ..held.clone() } };
        Ok(())
    }
}

impl Access {
    fn new(CommandRouterAccess { jwt, url }: &CommandRouterAccess) -> Result<Self, Error> {
        const DOING: &str = "asking where a sandbox's commands go";
        let channel = transport::channel(url, PlainText::Loopback).map_err(|error| Error::protocol(DOING, error.to_string()))?;
        let stub = Stub::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let bearer = secrecy::SecretString::from(format!("Bearer {jwt}"));
        let mut authorization = AsciiMetadataValue::try_from(bearer.expose_secret())
            .map_err(|_| Error::protocol(DOING, "the token cannot be sent in a header"))?;
        authorization.set_sensitive(true);
        Ok(Self { url: url.clone(), stub, authorization })
    }

    fn authorize<Q>(&self, request: Q) -> Request<Q> {
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }
}

/// What is done after a call failed, until it is given up.
struct Recovery<'a> {
    router: &'a Router,
    doing: &'static str,
    began: Instant,
    pauses: backon::ExponentialBackoff,
    start_pauses: backon::ExponentialBackoff,
    was_renewed: bool,
    /// How long it was put off.
    waited: Duration,
}

impl<'a> Recovery<'a> {
    fn new(router: &'a Router, doing: &'static str) -> Self {
        let (pauses, start_pauses) = (retry::router_pauses(), retry::start_pauses());
        Self { router, doing, began: Instant::now(), pauses, start_pauses, was_renewed: false, waited: Duration::ZERO }
    }

    /// Waits until the call can be made again; an error if it is not worth it.
    async fn after(&mut self, access: &Access, status: Status) -> Result<(), Failed> {
        let code = retry::code(&status);
        if let Some(pause) = retry::throttle(&status) {
            if !self.router.sandbox.client().may_wait(&mut self.waited, pause) {
                return Err(Failed { code, error: Error::Exhausted { doing: self.doing, reason: status.message().to_owned() } });
            }
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        if code == Code::Unauthenticated && !self.was_renewed {
            self.was_renewed = true;
            return match self.router.renew(access).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.router.explain(Failed { code, error }).await),
            };
        }
        let failed = Failed { code, error: Error::from_status(self.doing, &status) };
        if !retry::is_passing(&status) {
            return Err(self.router.explain(failed).await);
        }
        if self.router.was_reached.load(Ordering::Relaxed) {
            match self.pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(self.router.explain(failed).await),
            }
            return Ok(());
        }
        // Its machine may take minutes to start. A sandbox that ended before it ran never accepts anything.
        let failed = self.router.explain(failed).await;
        if matches!(failed.error, Error::Ended { .. }) {
            return Err(failed);
        }
        let limit = self.router.sandbox.client().config().start_timeout;
        if self.began.elapsed() >= limit {
            return Err(Failed { code, error: Error::TimedOut { doing: "waiting until a sandbox accepts commands", limit } });
        }
        if let Some(pause) = self.start_pauses.next() {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Something succeeded: what fails next begins anew.
    fn succeeded(&mut self) {
        *self = Self::new(self.router, self.doing);
    }
}
