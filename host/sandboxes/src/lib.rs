//! Where agents run: the local provider of sandboxes.
