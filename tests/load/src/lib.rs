//! The load program: measures the host with an instant agent.
