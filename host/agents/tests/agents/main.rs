//! The drivers as the session uses them: through the ports, fed with what the programs really print.

mod claude_behaviour;
mod claude_captures;
mod claude_import;
mod claude_launch;
mod echo;
mod support;
