//! How often and how long a request is tried.

use std::time::{Duration, SystemTime};

use agent_host_adapter::http::Response;

/// The pause after the first try. It doubles with each: a server that restarts or is overrun gets room, and what is over in a moment costs a moment.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause that is made without being asked for: a call has seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// With less time than this left no try is begun: hardly any server across a network answers so soon.
pub(crate) const LEAST_TRY: Duration = Duration::from_millis(200);

/// How often and how long a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Tries of one request, the first included.
    pub(crate) attempts: u32,
    /// The time of one call, with all its requests, their tries and the pauses between.
    pub(crate) call: Duration,
}

impl Patience {
    /// How long one try waits for its answer: so long that a slow server is not asked again and again, and so short that there is time for another try.
    pub(crate) fn one_try(&self) -> Duration {
        self.call / 2
    }
}

/// The pause after a try, of which `chance` decides a half: clients that failed together do not come back together.
pub(crate) fn pause(attempt: u32, chance: u8) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    whole / 2 + whole / 2 * u32::from(chance) / u32::from(u8::MAX)
}

/// Whether the next try of a request with this answer may be answered otherwise. Any other answer is the server's word.
pub(crate) fn is_worth_another_try(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// How long the server wants to be left alone: seconds, or a date, which by the same answer's `Date` is seconds as well, whatever time it is here.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let text = |name| std::str::from_utf8(response.header(name)?).ok().map(str::trim);
    let asked = text("retry-after")?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    Some(date(asked)?.duration_since(date(text("date")?)?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Option<Duration> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        retry_after(&Response { status: 503, headers, body: Vec::new() })
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let longest: Vec<u128> = (1..8).map(|attempt| pause(attempt, 255).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pause(1, 0), Duration::from_millis(50));
        assert!(pause(u32::MAX, 255) <= LONGEST_PAUSE);
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        assert_eq!(asked(&[("Retry-After", " 7 ")]), Some(Duration::from_secs(7)));
        let (date, later) = ("Sat, 28 Nov 2026 13:29:50 GMT", "Sat, 28 Nov 2026 13:30:02 GMT");
        assert_eq!(asked(&[("date", date), ("retry-after", later)]), Some(Duration::from_secs(12)));
        assert_eq!(asked(&[("date", later), ("retry-after", date)]), Some(Duration::ZERO), "it is over");
        for headers in [&[("retry-after", later)][..], &[("retry-after", "soon"), ("date", date)], &[("retry-after", "-1")], &[]] {
            assert_eq!(asked(headers), None, "{headers:?}");
        }
    }
}
