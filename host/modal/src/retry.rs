//! When a call is made again.

use std::error::Error as _;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use prost::Message as _;
use tonic::{Code, Status};

use crate::proto::client::{RpcRetryPolicy, RpcStatus};

/// The least that a call waits which was put off.
const MIN_THROTTLE: Duration = Duration::from_millis(100);

/// The pauses between the tries of a call to the control plane.
pub(crate) fn control_pauses() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_max_delay(Duration::from_secs(1)).with_max_times(3).build()
}

/// The pauses between the tries of a call to a router: about ten seconds in all.
pub(crate) fn router_pauses() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(10)).with_max_delay(Duration::from_secs(10)).with_max_times(10).build()
}

/// The pauses between the tries to reach a router for the first time: its machine may have to be started. They go on for ever.
pub(crate) fn start_pauses() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_max_delay(Duration::from_secs(10)).without_max_times().build()
}

/// What a call failed with.
///
/// A server that tells a connection to be calmer (ENHANCE_YOUR_CALM of HTTP/2) says nothing of a quota, which tonic makes of it: it is the connection that is refused, for the
/// moment. What comes from the connection has a source here, and what Modal says has none.
pub(crate) fn code(status: &Status) -> Code {
    match status.code() {
        Code::ResourceExhausted if status.source().is_some() => Code::Unavailable,
        code => code,
    }
}

/// Whether the same call may succeed when it is made again.
pub(crate) fn is_passing(status: &Status) -> bool {
    matches!(code(status), Code::DeadlineExceeded | Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown)
}

/// For how long the call is put off, if it is.
pub(crate) fn throttle(status: &Status) -> Option<Duration> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let policy = details.iter().find(|detail| detail.type_url.ends_with("/modal.client.RPCRetryPolicy"))?;
    let RpcRetryPolicy { retry_after_secs } = RpcRetryPolicy::decode(policy.value.as_slice()).ok()?;
    Some(Duration::try_from_secs_f32(retry_after_secs).unwrap_or_default().max(MIN_THROTTLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_off(seconds: f32) -> Status {
        let value = RpcRetryPolicy { retry_after_secs: seconds }.encode_to_vec();
        let detail = prost_types::Any { type_url: "type.googleapis.com/modal.client.RPCRetryPolicy".to_owned(), value };
        let details = RpcStatus { code: 8, message: "slow down".to_owned(), details: vec![detail] };
        Status::with_details(Code::ResourceExhausted, "slow down", details.encode_to_vec().into())
    }

    #[test]
    fn a_call_that_is_put_off_waits_for_as_long_as_it_is_told() {
        assert_eq!(throttle(&put_off(2.5)), Some(Duration::from_millis(2500)));
        assert_eq!(throttle(&put_off(0.0)), Some(MIN_THROTTLE));
        assert_eq!(throttle(&put_off(-1.0)), Some(MIN_THROTTLE));
        assert_eq!(throttle(&put_off(f32::NAN)), Some(MIN_THROTTLE));
        assert_eq!(throttle(&Status::resource_exhausted("no more")), None);
        assert_eq!(throttle(&Status::with_details(Code::Unavailable, "", vec![0xFF; 9].into())), None);
    }

    #[test]
    fn a_connection_that_is_to_be_calmer_is_no_quota_that_is_used_up() {
        let mut calm = Status::resource_exhausted("h2 protocol error: http2 error");
        assert!(!is_passing(&calm), "so a server says it");
        calm.set_source(std::sync::Arc::new(std::io::Error::other("stream reset")));
        assert_eq!((code(&calm), is_passing(&calm)), (Code::Unavailable, true));
    }

    #[test]
    fn pauses_are_those_of_the_official_clients() {
        assert_eq!(control_pauses().map(|pause| pause.as_millis()).collect::<Vec<_>>(), [100, 200, 400]);
        let router: Vec<_> = router_pauses().collect();
        assert_eq!((router.len(), router[0], router.iter().sum::<Duration>().as_secs()), (10, Duration::from_millis(10), 10));
    }
}
