//! Sessions that were used last, so that their journals are not read anew for each call. What is held here may be old: [`Session::refresh`] reads on.

use crate::session::Session;

/// Sessions, so few that looking through them takes no time.
const SESSIONS: usize = 256;

/// Lines of journals, of some hundred bytes each, of all sessions together.
const WEIGHT: usize = 100_000;

#[derive(Default)]
pub(crate) struct Cache {
    /// The one that was used last is the last.
    sessions: Vec<(String, Session)>,
}

impl Cache {
    pub(crate) fn take(&mut self, id: &str) -> Option<Session> {
        let place = self.sessions.iter().rposition(|(there, _)| there == id)?;
        Some(self.sessions.remove(place).1)
    }

    pub(crate) fn put(&mut self, id: &str, session: Session) {
        self.sessions.push((id.to_owned(), session));
        let (mut count, mut weight) = (0, 0);
        // From the one that was used last on, as many as there is room for; that one in any case.
        let kept = self.sessions.iter().rev().take_while(|(_, session)| {
            count += 1;
            weight += session.weight();
            count == 1 || (count <= SESSIONS && weight <= WEIGHT)
        });
        let surplus = self.sessions.len() - kept.count();
        self.sessions.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn those_that_were_used_last_are_kept() {
        let mut cache = Cache::default();
        for number in 0..SESSIONS {
            cache.put(&number.to_string(), Session::new(PathBuf::new()));
        }
        let first = cache.take("0").unwrap();
        cache.put("0", first);
        cache.put("one more", Session::new(PathBuf::new()));
        assert!(cache.take("1").is_none(), "the one that was not used for the longest time is kept");
        assert!(cache.take("0").is_some() && cache.take("2").is_some() && cache.take("one more").is_some());
        assert!(cache.take("0").is_none());
    }
}
