//! A scripted Anthropic Messages API for tests.
