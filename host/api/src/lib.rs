//! REST and WebSocket over the session manager.
