//! The agent programs that Agent Host can run, as state machines from native output to events.
