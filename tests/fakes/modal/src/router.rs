//! The router: commands in sandboxes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::exec::{Exec, Exit};
use crate::image::Image;
use crate::mount::Files;
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::{GenericResult, secret_source};
use crate::proto::task_command_router::task_command_router_server::TaskCommandRouter;
use crate::proto::task_command_router::*;
use crate::world::World;

/// The service.
#[derive(Clone)]
pub(crate) struct Router(pub(crate) Arc<World>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

impl Router {
    fn exec<T>(&self, request: &Request<T>, task_id: &str, exec_id: &str) -> Result<Arc<Exec>, Status> {
        let sandbox = self.0.task(request.metadata(), task_id)?;
        sandbox.exec(exec_id).ok_or_else(|| Status::not_found("there is no such command"))
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl TaskCommandRouter for Router {
    async fn task_exec_start(&self, request: Request<TaskExecStartRequest>) -> Answer<TaskExecStartResponse> {
        let sandbox = self.0.task(request.metadata(), &request.get_ref().task_id)?;
        let request = request.into_inner();
        if request.command_args.is_empty() || request.exec_id.is_empty() {
            return Err(Status::invalid_argument("a command has an id and a program"));
        }
        if request.stdout_config() != TaskExecStdoutConfig::Pipe || request.stderr_config() != TaskExecStderrConfig::Pipe {
            return Err(Status::invalid_argument("the fake keeps all output"));
        }
        let mut env: Vec<(String, String)> = request.env.into_iter().collect();
        for source in request.secret_sources.into_iter().filter_map(|source| source.source) {
            match source {
                secret_source::Source::Env(map) => env.extend(map.contents),
                secret_source::Source::SecretId(id) => {
                    let state = self.0.state.lock();
                    env.extend(state.secrets.get(&id).ok_or_else(|| Status::not_found("there is no such secret"))?.clone());
                }
            }
        }
        let timeout = request.timeout_secs.map(|seconds| Duration::from_secs(seconds.into()));
        let started = sandbox.start_exec(&request.exec_id, &request.command_args, request.workdir.as_deref(), &env, timeout);
        started.map_err(|error| Status::internal(format!("{error:#}")))?;
        answer(TaskExecStartResponse {})
    }

    type TaskExecStdioReadStream = Streamed<TaskExecStdioReadResponse>;

    async fn task_exec_stdio_read(&self, request: Request<TaskExecStdioReadRequest>) -> Answer<Self::TaskExecStdioReadStream> {
        let asked = request.get_ref();
        let exec = self.exec(&request, &asked.task_id, &asked.exec_id)?;
        let pipe = match asked.file_descriptor() {
            TaskExecStdioFileDescriptor::Stdout => &exec.stdout,
            TaskExecStdioFileDescriptor::Stderr => &exec.stderr,
        };
        let output = pipe.read(asked.offset).map(|data| Ok(TaskExecStdioReadResponse { data }));
        answer(output.boxed())
    }

    async fn task_exec_stdin_write(&self, request: Request<TaskExecStdinWriteRequest>) -> Answer<TaskExecStdinWriteResponse> {
        let exec = self.exec(&request, &request.get_ref().task_id, &request.get_ref().exec_id)?;
        let TaskExecStdinWriteRequest { offset, data, eof, .. } = request.into_inner();
        exec.write(offset, &data, eof).await?;
        answer(TaskExecStdinWriteResponse {})
    }

    async fn task_exec_stdin_write_stream(
        &self,
        request: Request<Streaming<TaskExecStdinWriteStreamRequest>>,
    ) -> Answer<TaskExecStdinWriteStreamResponse> {
        use task_exec_stdin_write_stream_request::Payload;

        let (metadata, _, mut messages) = request.into_parts();
        let Some(Payload::Start(start)) = messages.message().await?.and_then(|message| message.payload) else {
            return Err(Status::invalid_argument("it begins with where it begins"));
        };
        let sandbox = self.0.task(&metadata, &start.task_id)?;
        let exec = sandbox.exec(&start.exec_id).ok_or_else(|| Status::not_found("there is no such command"))?;
        let mut offset = start.offset;
        while let Some(message) = messages.message().await? {
            match message.payload {
                Some(Payload::Data(data)) => {
                    exec.write(offset, &data, false).await?;
                    offset += data.len() as u64;
                }
                Some(Payload::End(_)) => exec.write(offset, &[], true).await?,
                _ => return Err(Status::invalid_argument("it begins once")),
            }
        }
        answer(TaskExecStdinWriteStreamResponse {})
    }

    async fn task_exec_stdin_status(&self, request: Request<TaskExecStdinStatusRequest>) -> Answer<TaskExecStdinStatusResponse> {
        let exec = self.exec(&request, &request.get_ref().task_id, &request.get_ref().exec_id)?;
        let (num_bytes_written, closed) = exec.input_status().await;
        answer(TaskExecStdinStatusResponse { num_bytes_written, closed })
    }

    async fn task_exec_wait(&self, request: Request<TaskExecWaitRequest>) -> Answer<TaskExecWaitResponse> {
        use task_exec_wait_response::ExitStatus;

        let exec = self.exec(&request, &request.get_ref().task_id, &request.get_ref().exec_id)?;
        let exit = exec.wait().await.ok_or_else(|| Status::not_found("the task has ended"))?;
        let exit_status = match exit {
            Exit::Code(code) => ExitStatus::Code(code),
            Exit::Signal(signal) => ExitStatus::Signal(signal),
        };
        answer(TaskExecWaitResponse { exit_status: Some(exit_status) })
    }

    async fn task_exec_poll(&self, request: Request<TaskExecPollRequest>) -> Answer<TaskExecPollResponse> {
        use task_exec_poll_response::ExitStatus;

        let exec = self.exec(&request, &request.get_ref().task_id, &request.get_ref().exec_id)?;
        let exit_status = exec.exit().map(|exit| match exit {
            Exit::Code(code) => ExitStatus::Code(code),
            Exit::Signal(signal) => ExitStatus::Signal(signal),
        });
        answer(TaskExecPollResponse { exit_status })
    }

    type SandboxStdioReadV2Stream = Streamed<SandboxStdioReadV2Response>;

    async fn sandbox_stdio_read_v2(&self, request: Request<SandboxStdioReadV2Request>) -> Answer<Self::SandboxStdioReadV2Stream> {
        self.0.task(request.metadata(), &request.get_ref().task_id)?;
        answer(futures_util::stream::empty().boxed())
    }

    async fn sandbox_stdin_write_v2(&self, _request: Request<SandboxStdinWriteV2Request>) -> Answer<SandboxStdinWriteV2Response> {
        Err(Status::unimplemented("the fake's sandboxes have no program of their own"))
    }

    async fn sandbox_wait_until_ready(
        &self,
        request: Request<SandboxWaitUntilReadyTcrRequest>,
    ) -> Answer<SandboxWaitUntilReadyTcrResponse> {
        let sandbox = self.0.task(request.metadata(), &request.get_ref().task_id)?;
        answer(SandboxWaitUntilReadyTcrResponse { ready_at: sandbox.created_at })
    }

    async fn task_snapshot_filesystem(&self, request: Request<TaskSnapshotFilesystemRequest>) -> Answer<TaskSnapshotFilesystemResponse> {
        let sandbox = self.0.task(request.metadata(), &request.get_ref().task_id)?;
        let request = request.into_inner();
        if !request.ttl_seconds.is_some_and(|seconds| seconds > 0 || seconds == -1) {
            return Err(Status::invalid_argument("for how long is it kept?"));
        }
        let image_id = format!("im-{}", request.snapshot_id);
        if !self.0.state.lock().images.contains_key(&image_id) {
            let snapshot = self.0.directory.path().join(&image_id);
            crate::copy_tree(&sandbox.root, &snapshot).await.map_err(|error| Status::internal(format!("{error:#}")))?;
            let result = Some(GenericResult { status: GenericStatus::Success.into(), exception: String::new(), exitcode: 0 });
            let image = Image {
                bases: vec![sandbox.definition.image_id.clone()],
                commands: Vec::new(),
                copied: Ok(Files::new()),
                result,
                begun: None,
                runs: Vec::new(),
                snapshot: Some(snapshot),
            };
            self.0.state.lock().images.insert(image_id.clone(), image);
        }
        answer(TaskSnapshotFilesystemResponse { image_id })
    }
}
