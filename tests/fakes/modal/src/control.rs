//! The control plane.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use tonic::{Request, Response, Status};

use crate::proto::client::modal_client_server::ModalClient;
use crate::proto::client::*;
use crate::sandbox::{New, Sandbox};
use crate::world::World;

/// The service.
#[derive(Clone)]
pub(crate) struct Control(pub(crate) Arc<World>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

/// A result that says so.
pub(crate) fn result(status: generic_result::GenericStatus, exception: &str) -> GenericResult {
    GenericResult { status: status.into(), exception: exception.to_owned(), exitcode: 0 }
}

fn tags(list: &[SandboxTag]) -> BTreeMap<String, String> {
    list.iter().map(|tag| (tag.tag_name.clone(), tag.tag_value.clone())).collect()
}

fn tag_list(tags: &BTreeMap<String, String>) -> Vec<SandboxTag> {
    tags.iter().map(|(name, value)| SandboxTag { tag_name: name.clone(), tag_value: value.clone() }).collect()
}

impl Control {
    async fn create(
        &self,
        id: String,
        task_id: String,
        app_id: String,
        definition: crate::proto::client::Sandbox,
        tag_list: &[SandboxTag],
        env: Vec<(String, String)>,
    ) -> Result<Arc<Sandbox>, Status> {
        {
            let state = self.0.state.lock();
            let image = state.images.get(&definition.image_id).ok_or_else(|| Status::not_found("there is no such image"))?;
            if image.result.as_ref().is_none_or(|result| result.status() != generic_result::GenericStatus::Success) {
                return Err(Status::failed_precondition("the image is not built"));
            }
            if let Some(name) = &definition.name
                && state
                    .sandboxes
                    .iter()
                    .any(|sandbox| sandbox.result().is_none() && sandbox.app_id == app_id && sandbox.definition.name.as_ref() == Some(name))
            {
                return Err(Status::already_exists(format!("a sandbox named {name} runs")));
            }
        }
        let root = self.0.directory.path().join(&id);
        let contents = self.0.state.lock().contents(&definition.image_id);
        let new = New {
            id,
            task_id,
            app_id,
            definition,
            tags: tags(tag_list),
            env,
            root,
            contents,
            accepts_in: self.0.options.accepts_in,
            mounts: self.0.options.mounts.clone(),
            fs_tools: self.0.options.fs_tools.clone(),
        };
        let sandbox = Sandbox::start(new).await.map_err(|error| Status::internal(format!("{error:#}")))?;
        self.0.state.lock().sandboxes.push(Arc::clone(&sandbox));
        Ok(sandbox)
    }

    /// The variables of an environment, in the order in which they are said.
    fn environment(&self, sources: &[SecretSource]) -> Result<Vec<(String, String)>, Status> {
        let state = self.0.state.lock();
        let mut env = Vec::new();
        for source in sources.iter().filter_map(|source| source.source.as_ref()) {
            match source {
                secret_source::Source::Env(map) => env.extend(map.contents.clone()),
                secret_source::Source::SecretId(id) => {
                    env.extend(state.secrets.get(id).ok_or_else(|| Status::not_found("there is no such secret"))?.clone());
                }
            }
        }
        Ok(env)
    }

    async fn wait_for(&self, request: SandboxWaitRequest) -> Answer<SandboxWaitResponse> {
        let sandbox = self.0.sandbox(&request.sandbox_id)?;
        let timeout = Duration::try_from_secs_f32(request.timeout).unwrap_or_default();
        let result = if timeout.is_zero() { sandbox.result() } else { sandbox.wait(timeout).await };
        answer(SandboxWaitResponse { result, metadata: Some(SandboxHandleMetadata { result: None, app_id: sandbox.app_id.clone() }) })
    }

    fn terminate(&self, request: &SandboxTerminateRequest) -> Answer<SandboxTerminateResponse> {
        let sandbox = self.0.sandbox(&request.sandbox_id)?;
        let existing_result = sandbox.result();
        sandbox.end(generic_result::GenericStatus::Terminated, "");
        answer(SandboxTerminateResponse { existing_result })
    }

    fn task_id(&self, request: &SandboxGetTaskIdRequest) -> Answer<SandboxGetTaskIdResponse> {
        let sandbox = self.0.sandbox(&request.sandbox_id)?;
        answer(SandboxGetTaskIdResponse { task_id: Some(sandbox.task_id.clone()), task_result: sandbox.result() })
    }

    fn set_tags(&self, request: &SandboxTagsSetRequest) -> Answer<()> {
        *self.0.sandbox(&request.sandbox_id)?.tags.lock() = tags(&request.tags);
        answer(())
    }

    fn get_tags(&self, request: &SandboxTagsGetRequest) -> Answer<SandboxTagsGetResponse> {
        let tags = tag_list(&self.0.sandbox(&request.sandbox_id)?.tags.lock());
        answer(SandboxTagsGetResponse { tags })
    }

    fn tunnels(&self, request: &SandboxGetTunnelsRequest) -> Answer<SandboxGetTunnelsResponse> {
        let sandbox = self.0.sandbox(&request.sandbox_id)?;
        let Some(sandbox::OpenPortsOneof::OpenPorts(ports)) = &sandbox.definition.open_ports_oneof else {
            return answer(SandboxGetTunnelsResponse::default());
        };
        let tunnel = |port: &PortSpec| TunnelData {
            host: format!("{}.fake.modal.host", sandbox.id),
            port: 443,
            unencrypted_host: port.unencrypted.then(|| "fake.modal.host".to_owned()),
            unencrypted_port: port.unencrypted.then_some(40_000 + port.port % 1000),
            container_port: port.port,
        };
        answer(SandboxGetTunnelsResponse {
            result: Some(result(generic_result::GenericStatus::Success, "")),
            tunnels: ports.ports.iter().map(tunnel).collect(),
        })
    }

    fn named(&self, request: &SandboxGetFromNameRequest, is_newer: bool) -> Answer<SandboxGetFromNameResponse> {
        let app = {
            let state = self.0.state.lock();
            state.apps.get(&(request.environment_name.clone(), request.app_name.clone())).cloned()
        };
        let found = self.0.find(|sandbox| {
            sandbox.result().is_none()
                && Some(&sandbox.app_id) == app.as_ref()
                && sandbox.definition.name.as_ref() == Some(&request.sandbox_name)
                && sandbox.task_id.ends_with('V') == is_newer
        });
        let found = found.ok_or_else(|| Status::not_found(format!("there is no sandbox {}", request.sandbox_name)))?;
        answer(SandboxGetFromNameResponse { sandbox_id: found.id.clone(), metadata: None })
    }
}

pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ModalClient for Control {
    async fn auth_token_get(&self, request: Request<AuthTokenGetRequest>) -> Answer<AuthTokenGetResponse> {
        self.0.check(request.metadata(), false)?;
        answer(AuthTokenGetResponse { token: self.0.issue("auth") })
    }

    async fn app_get_or_create(&self, request: Request<AppGetOrCreateRequest>) -> Answer<AppGetOrCreateResponse> {
        self.0.check(request.metadata(), false)?;
        let request = request.into_inner();
        let creates = request.object_creation_type() != ObjectCreationType::Unspecified;
        let key = (request.environment_name, request.app_name);
        let mut state = self.0.state.lock();
        if !creates && !state.apps.contains_key(&key) {
            return Err(Status::not_found(format!("App '{}' not found", key.1)));
        }
        let number = self.0.next();
        let app_id = state.apps.entry(key).or_insert_with(|| format!("ap-{number:022}")).clone();
        answer(AppGetOrCreateResponse { app_id })
    }

    async fn environment_get_or_create(&self, request: Request<EnvironmentGetOrCreateRequest>) -> Answer<EnvironmentGetOrCreateResponse> {
        self.0.check(request.metadata(), false)?;
        let settings = Some(EnvironmentSettings { image_builder_version: "2025.06".to_owned() });
        let metadata = Some(EnvironmentMetadata { name: "main".to_owned(), settings });
        answer(EnvironmentGetOrCreateResponse { environment_id: "en-fake".to_owned(), metadata })
    }

    async fn secret_get_or_create(&self, request: Request<SecretGetOrCreateRequest>) -> Answer<SecretGetOrCreateResponse> {
        self.0.check(request.metadata(), false)?;
        let request = request.into_inner();
        if request.object_creation_type() == ObjectCreationType::Unspecified {
            return Err(Status::not_found("there is no such secret"));
        }
        let secret_id = format!("st-{:022}", self.0.next());
        self.0.state.lock().secrets.insert(secret_id.clone(), request.env_dict.into_iter().collect());
        answer(SecretGetOrCreateResponse { secret_id })
    }

    async fn volume_get_or_create(&self, _request: Request<VolumeGetOrCreateRequest>) -> Answer<VolumeGetOrCreateResponse> {
        Err(Status::unimplemented("the fake has no volumes"))
    }

    async fn image_get_or_create(&self, request: Request<ImageGetOrCreateRequest>) -> Answer<ImageGetOrCreateResponse> {
        self.0.check(request.metadata(), false)?;
        answer(self.get_or_create(request.into_inner())?)
    }

    type ImageJoinStreamingStream = Streamed<ImageJoinStreamingResponse>;

    async fn image_join_streaming(&self, request: Request<ImageJoinStreamingRequest>) -> Answer<Self::ImageJoinStreamingStream> {
        self.0.check(request.metadata(), false)?;
        answer(self.follow(request.into_inner()))
    }

    async fn image_from_id(&self, request: Request<ImageFromIdRequest>) -> Answer<ImageFromIdResponse> {
        self.0.check(request.metadata(), false)?;
        let image_id = request.into_inner().image_id;
        match self.0.state.lock().images.contains_key(&image_id) {
            true => answer(ImageFromIdResponse { image_id }),
            false => Err(Status::not_found("there is no such image")),
        }
    }

    async fn mount_batched_check_existence(
        &self,
        request: Request<MountBatchedCheckExistenceRequest>,
    ) -> Answer<MountBatchedCheckExistenceResponse> {
        self.0.check(request.metadata(), false)?;
        let missing_sha256_hex_hashes = self.0.state.lock().mounts.missing(request.into_inner().sha256_hex_hashes)?;
        answer(MountBatchedCheckExistenceResponse { missing_sha256_hex_hashes, checked_at: Some(SystemTime::now().into()) })
    }

    async fn mount_put_file(&self, request: Request<MountPutFileRequest>) -> Answer<MountPutFileResponse> {
        self.0.check(request.metadata(), false)?;
        answer(MountPutFileResponse { exists: self.0.state.lock().mounts.put(request.into_inner())? })
    }

    async fn mount_get_or_create(&self, request: Request<MountGetOrCreateRequest>) -> Answer<MountGetOrCreateResponse> {
        self.0.check(request.metadata(), false)?;
        answer(self.0.state.lock().mounts.create(request.into_inner())?)
    }

    async fn sandbox_create_v2(&self, request: Request<SandboxCreateV2Request>) -> Answer<SandboxCreateV2Response> {
        self.0.check(request.metadata(), true)?;
        let key = request.metadata().get("x-idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
        if let Some(created) = self.0.state.lock().created.get(&key) {
            return answer(created.clone());
        }
        // Python wants to see that nothing is encrypted, others take it as it comes.
        let is_python = request.metadata().get("x-modal-client-type").is_some_and(|kind| kind == "1" || kind == "7");
        let request = request.into_inner();
        let definition = request.definition.ok_or_else(|| Status::invalid_argument("there is no definition"))?;
        if definition.timeout_secs == 0 || definition.timeout_secs > 86_400 {
            return Err(Status::invalid_argument("the timeout must be between 1 and 86400 seconds"));
        }
        let env = self.environment(&request.secret_sources)?;
        let number = self.0.next();
        // Their length says that they are of the newer kind.
        let (id, task_id) = (format!("sb-{number:026}"), format!("ta-{number:025}V"));
        self.create(id.clone(), task_id.clone(), request.app_id, definition, &request.tags, env).await?;
        let url = if is_python { self.0.url.clone() } else { self.0.url.replace("http://", "https://") };
        let response = SandboxCreateV2Response {
            sandbox_id: id,
            tunnels: Vec::new(),
            task_id: task_id.clone(),
            metadata: None,
            command_router_access: Some(CommandRouterAccess { jwt: self.0.issue(&task_id), url }),
            sandbox_token: String::new(),
        };
        if !key.is_empty() {
            self.0.state.lock().created.insert(key, response.clone());
        }
        answer(response)
    }

    async fn sandbox_wait_v2(&self, request: Request<SandboxWaitRequest>) -> Answer<SandboxWaitResponse> {
        self.0.check(request.metadata(), true)?;
        self.wait_for(request.into_inner()).await
    }

    async fn sandbox_terminate_v2(&self, request: Request<SandboxTerminateRequest>) -> Answer<SandboxTerminateResponse> {
        self.0.check(request.metadata(), true)?;
        self.terminate(&request.into_inner())
    }

    async fn sandbox_list_v2(&self, request: Request<SandboxListRequest>) -> Answer<SandboxListResponse> {
        /// So that a list of a few has several pages.
        const PAGE: usize = 10;

        self.0.check(request.metadata(), true)?;
        let request = request.into_inner();
        let wanted = tags(&request.tags);
        let is_wanted = |sandbox: &Arc<Sandbox>| {
            let tags = sandbox.tags.lock();
            (request.app_id.is_empty() || sandbox.app_id == request.app_id)
                && (request.before_timestamp == 0.0 || sandbox.created_at < request.before_timestamp)
                && (request.include_finished || sandbox.result().is_none())
                && wanted.iter().all(|(name, value)| tags.get(name) == Some(value))
        };
        let info = |sandbox: Arc<Sandbox>| SandboxInfo {
            id: sandbox.id.clone(),
            created_at: sandbox.created_at,
            task_info: Some(TaskInfo { id: sandbox.task_id.clone(), result: sandbox.result(), ..Default::default() }),
            app_id: sandbox.app_id.clone(),
            tags: tag_list(&sandbox.tags.lock()),
            name: sandbox.definition.name.clone().unwrap_or_default(),
            metadata: None,
        };
        let sandboxes = self.0.sandboxes().into_iter().rev().filter(is_wanted).take(PAGE).map(info).collect();
        answer(SandboxListResponse { sandboxes })
    }

    async fn sandbox_tags_set_v2(&self, request: Request<SandboxTagsSetRequest>) -> Answer<()> {
        self.0.check(request.metadata(), true)?;
        self.set_tags(&request.into_inner())
    }

    async fn sandbox_tags_get_v2(&self, request: Request<SandboxTagsGetRequest>) -> Answer<SandboxTagsGetResponse> {
        self.0.check(request.metadata(), true)?;
        self.get_tags(&request.into_inner())
    }

    async fn sandbox_get_task_id_v2(&self, request: Request<SandboxGetTaskIdRequest>) -> Answer<SandboxGetTaskIdResponse> {
        self.0.check(request.metadata(), true)?;
        self.task_id(&request.into_inner())
    }

    async fn sandbox_get_tunnels_v2(&self, request: Request<SandboxGetTunnelsRequest>) -> Answer<SandboxGetTunnelsResponse> {
        self.0.check(request.metadata(), true)?;
        self.tunnels(&request.into_inner())
    }

    async fn sandbox_get_from_name_v2(&self, request: Request<SandboxGetFromNameRequest>) -> Answer<SandboxGetFromNameResponse> {
        self.0.check(request.metadata(), true)?;
        self.named(&request.into_inner(), true)
    }

    async fn sandbox_get_command_router_access(
        &self,
        request: Request<SandboxGetCommandRouterAccessRequest>,
    ) -> Answer<SandboxGetCommandRouterAccessResponse> {
        use sandbox_get_command_router_access_request::Target;

        self.0.check(request.metadata(), true)?;
        let sandbox = match request.into_inner().target {
            Some(Target::SandboxId(id)) => self.0.sandbox(&id)?,
            Some(Target::TaskId(id)) => {
                self.0.find(|sandbox| sandbox.task_id == id).ok_or_else(|| Status::not_found("there is no such task"))?
            }
            None => return Err(Status::invalid_argument("for which sandbox?")),
        };
        answer(SandboxGetCommandRouterAccessResponse { jwt: self.0.issue(&sandbox.task_id), url: self.0.url.clone() })
    }

    async fn sandbox_create(&self, request: Request<SandboxCreateRequest>) -> Answer<SandboxCreateResponse> {
        self.0.check(request.metadata(), false)?;
        let request = request.into_inner();
        let definition = request.definition.ok_or_else(|| Status::invalid_argument("there is no definition"))?;
        let sources = definition.secret_ids.iter().map(|id| SecretSource { source: Some(secret_source::Source::SecretId(id.clone())) });
        let env = self.environment(&sources.collect::<Vec<_>>())?;
        let number = self.0.next();
        let (sandbox_id, task_id) = (format!("sb-{number:022}"), format!("ta-{number:022}"));
        self.create(sandbox_id.clone(), task_id, request.app_id, definition, &request.tags, env).await?;
        answer(SandboxCreateResponse { sandbox_id, metadata: None })
    }

    async fn sandbox_wait(&self, request: Request<SandboxWaitRequest>) -> Answer<SandboxWaitResponse> {
        self.0.check(request.metadata(), false)?;
        self.wait_for(request.into_inner()).await
    }

    async fn sandbox_terminate(&self, request: Request<SandboxTerminateRequest>) -> Answer<SandboxTerminateResponse> {
        self.0.check(request.metadata(), false)?;
        self.terminate(&request.into_inner())
    }

    async fn sandbox_tags_set(&self, request: Request<SandboxTagsSetRequest>) -> Answer<()> {
        self.0.check(request.metadata(), false)?;
        self.set_tags(&request.into_inner())
    }

    async fn sandbox_tags_get(&self, request: Request<SandboxTagsGetRequest>) -> Answer<SandboxTagsGetResponse> {
        self.0.check(request.metadata(), false)?;
        self.get_tags(&request.into_inner())
    }

    async fn sandbox_get_task_id(&self, request: Request<SandboxGetTaskIdRequest>) -> Answer<SandboxGetTaskIdResponse> {
        self.0.check(request.metadata(), false)?;
        self.task_id(&request.into_inner())
    }

    async fn sandbox_get_tunnels(&self, request: Request<SandboxGetTunnelsRequest>) -> Answer<SandboxGetTunnelsResponse> {
        self.0.check(request.metadata(), false)?;
        self.tunnels(&request.into_inner())
    }

    async fn sandbox_get_from_name(&self, request: Request<SandboxGetFromNameRequest>) -> Answer<SandboxGetFromNameResponse> {
        self.0.check(request.metadata(), false)?;
        self.named(&request.into_inner(), false)
    }

    async fn task_get_command_router_access(
        &self,
        request: Request<TaskGetCommandRouterAccessRequest>,
    ) -> Answer<TaskGetCommandRouterAccessResponse> {
        self.0.check(request.metadata(), false)?;
        let task_id = request.into_inner().task_id;
        match self.0.find(|sandbox| sandbox.task_id == task_id) {
            Some(sandbox) if sandbox.result().is_none() => {
                answer(TaskGetCommandRouterAccessResponse { jwt: self.0.issue(&task_id), url: self.0.url.clone() })
            }
            _ => Err(Status::failed_precondition("the task has no command router")),
        }
    }
}
