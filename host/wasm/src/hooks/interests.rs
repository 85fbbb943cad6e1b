//! Which events a hook is told of.

use std::fmt;
use std::str::FromStr;

/// Longest pattern in bytes: names of events are shorter.
const MAX_PATTERN_BYTES: usize = 256;

/// Most patterns of one hook: there are about twenty kinds of events, and each is looked up in all of them.
const MAX_PATTERNS: usize = 64;

/// The name of an event, or its beginning and a `*` for any rest: `session:block:complete`, `session:block:*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

/// Why hooks cannot be told of such events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// A pattern is empty, too long, has white space in it, or has a `*` elsewhere than at its end.
    #[error(
        "invalid event pattern {0:?}: it must be the name of an event, or its beginning and one `*`, of at most 256 bytes without white space"
    )]
    Malformed(String),
    /// There are too many.
    #[error("{0} event patterns are too many: a hook can have 64")]
    TooMany(usize),
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        self.0.strip_suffix('*').map_or(self.0 == name, |beginning| name.starts_with(beginning))
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        let is_valid = !text.is_empty() && text.len() <= MAX_PATTERN_BYTES && !beginning.contains(|c: char| c == '*' || c.is_whitespace());
        // What is refused may be of any size: what is quoted of it is not.
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidPattern::Malformed(text.chars().take(MAX_PATTERN_BYTES).collect())) }
    }
}

/// All that one hook wants to be told of. What it emitted itself never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interests {
    hook: String,
    patterns: Vec<Pattern>,
}

impl Interests {
    /// The interests of the hook `hook`; without a pattern it is told of nothing.
    ///
    /// # Errors
    /// [`InvalidPattern`] says which, and why.
    pub fn new<'a>(hook: &str, patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPattern> {
        let patterns: Vec<Pattern> = patterns.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        if patterns.len() > MAX_PATTERNS {
            return Err(InvalidPattern::TooMany(patterns.len()));
        }
        Ok(Self { hook: hook.to_owned(), patterns })
    }

    /// Whose they are.
    pub fn hook(&self) -> &str {
        &self.hook
    }

    /// Whether the hook is told of events of this name.
    pub fn include(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name)) && !self.is_own(name)
    }

    fn is_own(&self, name: &str) -> bool {
        let rest = name.strip_prefix("hook:").and_then(|rest| rest.strip_prefix(self.hook.as_str()));
        rest.is_some_and(|rest| rest.starts_with(':'))
    }
}

impl fmt::Display for Interests {
    /// The patterns, separated by spaces: they have none in them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Pattern(text)) in self.patterns.iter().enumerate() {
            write!(formatter, "{}{text}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_any_rest() {
        let wants = |pattern, name| Interests::new("audit", [pattern]).unwrap().include(name);
        assert!(wants("*", "error"));
        assert!(wants("session:block:*", "session:block:delta"));
        assert!(!wants("session:block:*", "session:status"));
        assert!(wants("session:status", "session:status"));
        assert!(!wants("session:status", "session:status:more"));
    }

    #[test]
    fn a_hook_is_not_told_of_its_own_events() {
        let interests = Interests::new("audit", ["*", "hook:audit:done"]).unwrap();
        assert!(!interests.include("hook:audit:done"));
        assert!(interests.include("hook:auditor:done"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "**", "a*b", "*a", "a b", "a\n", &"x".repeat(257)] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(Interests::new("h", std::iter::repeat_n("*", 65)), Err(InvalidPattern::TooMany(65)));
    }

    #[test]
    fn interests_are_read_as_they_were_written() {
        let interests = Interests::new("h", ["session:*", "error"]).unwrap();
        assert_eq!(Interests::new("h", interests.to_string().split_whitespace()).unwrap(), interests);
    }
}
