//! What it takes to ask Modal about a sandbox.

use std::time::Duration;

use secrecy::SecretString;

use crate::client::{CallOptions, rpc};
use crate::config::Backend;
use crate::proto::client::generic_result::GenericStatus;
use crate::proto::client::{
    CommandRouterAccess, GenericResult, SandboxGetCommandRouterAccessRequest, SandboxTerminateRequest, SandboxWaitRequest,
    TaskGetCommandRouterAccessRequest, sandbox_get_command_router_access_request,
};
use crate::{Client, End, EndReason, Error};

/// What a call that waits may take longer than it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// A sandbox, as the control plane knows it.
pub(crate) struct Handle {
    pub(super) client: Client,
    pub(super) id: String,
    pub(super) token: Option<SecretString>,
}

impl Handle {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn backend(&self) -> Backend {
        let rest = self.id.strip_prefix("sb-");
        if rest.is_some_and(|rest| rest.len() == 22 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            Backend::V1
        } else {
            Backend::V2
        }
    }

    pub(crate) async fn poll(&self) -> Result<Option<End>, Error> {
        self.wait_for(Duration::ZERO).await
    }

    pub(crate) async fn wait_for(&self, timeout: Duration) -> Result<Option<End>, Error> {
        const DOING: &str = "asking whether a sandbox has ended";
        let request = SandboxWaitRequest { sandbox_id: self.id.clone(), timeout: timeout.as_secs_f32() };
        let options = CallOptions { timeout: (!timeout.is_zero()).then_some(timeout.saturating_add(GRACE)), ..self.call_options() };
        let answer = match self.backend() {
            Backend::V2 => self.client.call(DOING, options, request, rpc!(sandbox_wait_v2)).await?,
            Backend::V1 => self.client.call(DOING, options, request, rpc!(sandbox_wait)).await?,
        };
        Ok(answer.result.as_ref().and_then(end))
    }

    pub(super) async fn terminate(&self) -> Result<(), Error> {
        const DOING: &str = "terminating a sandbox";
        let request = SandboxTerminateRequest { sandbox_id: self.id.clone() };
        match self.backend() {
            Backend::V2 => self.client.call(DOING, self.call_options(), request, rpc!(sandbox_terminate_v2)).await.map(drop),
            Backend::V1 => self.client.call(DOING, self.call_options(), request, rpc!(sandbox_terminate)).await.map(drop),
        }
    }

    /// Where commands go, and what authorises them.
    pub(crate) async fn router_access(&self, task_id: &str) -> Result<CommandRouterAccess, Error> {
        const DOING: &str = "asking where a sandbox's commands go";
        Ok(match self.backend() {
            Backend::V2 => {
                let target = Some(sandbox_get_command_router_access_request::Target::SandboxId(self.id.clone()));
                let request = SandboxGetCommandRouterAccessRequest { target };
                let answer = self.client.call(DOING, self.call_options(), request, rpc!(sandbox_get_command_router_access)).await?;
                CommandRouterAccess { jwt: answer.jwt, url: answer.url }
            }
            Backend::V1 => {
                let request = TaskGetCommandRouterAccessRequest { task_id: task_id.to_owned() };
                let answer = self.client.call(DOING, self.call_options(), request, rpc!(task_get_command_router_access)).await?;
                CommandRouterAccess { jwt: answer.jwt, url: answer.url }
            }
        })
    }

    pub(crate) fn ended(&self, end: End) -> Error {
        Error::Ended { sandbox_id: self.id.clone(), end }
    }

    pub(super) fn call_options(&self) -> CallOptions {
        CallOptions { timeout: None, sandbox_token: self.token.clone() }
    }
}

/// How something ended; `None` while it has not.
pub(super) fn end(result: &GenericResult) -> Option<End> {
    let (reason, code) = match result.status() {
        GenericStatus::Unspecified => return None,
        GenericStatus::Success | GenericStatus::Failure => (EndReason::Exited, Some(result.exitcode)),
        GenericStatus::Terminated => (EndReason::Terminated, Some(137)),
        GenericStatus::Timeout => (EndReason::TimedOut, Some(124)),
        GenericStatus::IdleTimeout => (EndReason::Idle, Some(result.exitcode)),
        GenericStatus::InitFailure => (EndReason::NotStarted, Some(result.exitcode)),
        GenericStatus::MemoryManagerEviction | GenericStatus::MemoryThrashingEviction | GenericStatus::KernelOomKill => {
            (EndReason::OutOfMemory, Some(result.exitcode))
        }
        GenericStatus::InternalFailure => (EndReason::Failed, Some(result.exitcode)),
    };
    Some(End { reason, code, message: result.exception.clone() })
}
