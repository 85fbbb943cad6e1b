//! Behaviour of the whole: the built host over real sockets.
