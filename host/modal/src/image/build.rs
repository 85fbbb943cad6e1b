//! The build of an image, layer by layer.

use std::collections::VecDeque;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tonic::Streaming;

use super::{DOING, ImageId, Layer, mount};
use crate::client::{CallOptions, rpc};
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::{
    BaseImage, GenericResult, Image as Definition, ImageGetOrCreateRequest, ImageJoinStreamingRequest, ImageJoinStreamingResponse,
};
use crate::{App, BuildFailure, Error, retry};

/// After so many seconds Modal ends a stream of a build's log, which is joined again then.
const JOIN_SECONDS: f32 = 55.0;

/// How often a build's log may break off in a row.
const MAX_FAILURES: usize = 10;

/// How much of a build's log is kept to be shown if it fails.
const LOG_LINES: usize = 50;

/// A build that nobody has awaited yet. Dropped, it goes on at Modal if it was begun; the same recipe finds it there.
#[must_use = "nothing is built before it is awaited"]
#[derive(Debug)]
pub struct Build {
    app: App,
    remaining: VecDeque<Layer>,
    /// The layer before.
    base: Option<String>,
    version: Option<String>,
    /// The layer that is being built.
    joined: Option<Joined>,
    /// What was printed and not given to anybody.
    log: VecDeque<String>,
    /// The last lines.
    lines: VecDeque<String>,
}

#[derive(Debug)]
struct Joined {
    image_id: String,
    stream: Option<Streaming<ImageJoinStreamingResponse>>,
    last_entry: String,
    failures: usize,
}

impl Build {
    pub(super) fn new(app: &App, layers: &[Layer]) -> Self {
        Self {
            app: app.clone(),
            remaining: layers.iter().cloned().collect(),
            base: None,
            version: None,
            joined: None,
            log: VecDeque::new(),
            lines: VecDeque::new(),
        }
    }

    /// The next part of the log, as the build prints it; `None` when the image is there.
    ///
    /// # Errors
    /// [`Error::BuildFailed`] with the reason and the end of the log, [`Error::Invalid`] if files cannot be [copied](super::Image::copy), and those of every call.
    pub async fn next_log(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(text) = self.log.pop_front() {
                return Ok(Some(text));
            }
            if self.joined.is_some() {
                self.follow().await?;
            } else if let Some(layer) = self.remaining.front().cloned() {
                self.begin(layer).await?;
            } else {
                return Ok(None);
            }
        }
    }

    /// Waits for the image.
    ///
    /// # Errors
    /// As [`next_log`](Self::next_log).
    pub async fn finish(mut self) -> Result<ImageId, Error> {
        while self.next_log().await?.is_some() {}
        self.base.map(ImageId::new).ok_or_else(|| Error::protocol(DOING, "there is no layer"))
    }

    async fn begin(&mut self, layer: Layer) -> Result<(), Error> {
        let (commands, context_mount_id) = match layer {
            Layer::Commands(commands) => (commands, String::new()),
            // The mount has the files where they are to be in the image. So no path has to be written as a Dockerfile wants it.
            Layer::Files(files, destination) => (vec!["COPY . /".to_owned()], mount::create(&self.app, &files, &destination).await?),
        };
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.version.insert(self.app.image_builder_version().await?).clone(),
        };
        let (base_images, dockerfile_commands) = match &self.base {
            None => (Vec::new(), commands),
            Some(base) => (
                vec![BaseImage { image_id: base.clone(), docker_tag: "base".to_owned() }],
                std::iter::once("FROM base".to_owned()).chain(commands).collect(),
            ),
        };
        let request = ImageGetOrCreateRequest {
            image: Some(Definition { base_images, dockerfile_commands, context_mount_id, ..Definition::default() }),
            app_id: self.app.id().to_owned(),
            force_build: false,
            builder_version: version,
        };
        let answer = self.app.client().call(DOING, CallOptions::default(), request, rpc!(image_get_or_create)).await?;
        match answer.result.filter(|result| result.status() != GenericStatus::Unspecified) {
            Some(result) => self.ended(answer.image_id, &result),
            None => {
                self.joined = Some(Joined { image_id: answer.image_id, stream: None, last_entry: String::new(), failures: 0 });
                Ok(())
            }
        }
    }

    /// Takes in what the build says next.
    async fn follow(&mut self) -> Result<(), Error> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let next = async {
            let stream = match &mut joined.stream {
                Some(stream) => stream,
                none => {
                    let request = ImageJoinStreamingRequest {
                        image_id: joined.image_id.clone(),
                        timeout: JOIN_SECONDS,
                        last_entry_id: joined.last_entry.clone(),
                        include_logs_for_finished: false,
                    };
                    none.insert(self.app.client().stream(request, rpc!(image_join_streaming)).await?)
                }
            };
            // The stream ends by itself long before this.
            let limit = Duration::from_secs_f32(2.0 * JOIN_SECONDS);
            tokio::time::timeout(limit, stream.message()).await.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer")))
        };
        match next.await {
            Ok(Some(message)) => {
                joined.failures = 0;
                if !message.entry_id.is_empty() {
                    joined.last_entry.clone_from(&message.entry_id);
                }
                for log in message.task_logs {
                    self.lines.extend(log.data.lines().map(str::to_owned));
                    self.log.push_back(log.data);
                }
                let surplus = self.lines.len().saturating_sub(LOG_LINES);
                self.lines.drain(..surplus);
                match message.result.filter(|result| result.status() != GenericStatus::Unspecified) {
                    Some(result) => {
                        let image_id = joined.image_id.clone();
                        self.ended(image_id, &result)
                    }
                    None => Ok(()),
                }
            }
            // It has lasted as long as it may, and the build goes on.
            Ok(None) => {
                joined.stream = None;
                Ok(())
            }
            Err(status) => {
                joined.stream = None;
                joined.failures += 1;
                let throttle = retry::throttle(&status);
                if !(retry::is_passing(&status) || throttle.is_some()) || joined.failures > MAX_FAILURES {
                    return Err(Error::from_status(DOING, &status));
                }
                tracing::debug!(code = ?status.code(), "the log of an image's build broke off and is joined again");
                let pause = throttle.or_else(|| retry::control_pauses().nth(joined.failures.min(3) - 1));
                tokio::time::sleep(pause.unwrap_or(Duration::from_secs(1))).await;
                Ok(())
            }
        }
    }

    fn ended(&mut self, image_id: String, result: &GenericResult) -> Result<(), Error> {
        if result.status() == GenericStatus::Success {
            self.joined = None;
            self.remaining.pop_front();
            self.base = Some(image_id);
            return Ok(());
        }
        let (kind, otherwise) = match result.status() {
            GenericStatus::Terminated => (BuildFailure::Terminated, "the build was terminated"),
            GenericStatus::Timeout | GenericStatus::IdleTimeout => (BuildFailure::TimedOut, "the build took too long"),
            GenericStatus::MemoryManagerEviction | GenericStatus::MemoryThrashingEviction | GenericStatus::KernelOomKill => {
                (BuildFailure::OutOfMemory, "the build used too much memory")
            }
            GenericStatus::InitFailure | GenericStatus::InternalFailure => (BuildFailure::Internal, "something failed at Modal"),
            GenericStatus::Failure | GenericStatus::Unspecified | GenericStatus::Success => {
                (BuildFailure::Failed, "Modal does not say why")
            }
        };
        let reason = if result.exception.is_empty() { otherwise.to_owned() } else { result.exception.clone() };
        Err(Error::BuildFailed { image_id, kind, reason, log: self.lines.make_contiguous().join("\n") })
    }
}

impl IntoFuture for Build {
    type Output = Result<ImageId, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}
