//! A process that is killed at any step: from the step on at which the fuse is burnt, nothing happens any more.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;

thread_local! {
    static FUSE: Cell<Fuse> = const { Cell::new(Fuse::None) };
    /// What was done.
    static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
enum Fuse {
    None,
    /// Steps that are left.
    Left(u32),
    Burnt,
}

/// Takes a step, if there is one left.
pub(crate) fn burn(action: &str, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    STEPS.with_borrow_mut(|steps| steps.push(format!("{action} {}", name.display())));
    let next = match FUSE.get() {
        Fuse::None => return Ok(()),
        Fuse::Left(0) | Fuse::Burnt => Fuse::Burnt,
        Fuse::Left(left) => Fuse::Left(left - 1),
    };
    FUSE.set(next);
    if let Fuse::Burnt = next { Err(io::Error::other("the process was killed")) } else { Ok(()) }
}

/// Whether the next step is the one at which the process is killed.
pub(crate) fn is_at_its_end() -> bool {
    matches!(FUSE.get(), Fuse::Left(0))
}

/// Lets so many steps be taken in `run`; whether they were enough.
pub(crate) fn with<T>(steps: u32, run: impl FnOnce() -> T) -> (T, bool) {
    FUSE.set(Fuse::Left(steps));
    let result = run();
    let is_enough = !matches!(FUSE.replace(Fuse::None), Fuse::Burnt);
    (result, is_enough)
}

/// What is made durable in `run`, in this order. Names that are drawn are cut off behind their beginning.
pub(crate) fn synced<T>(run: impl FnOnce() -> T) -> Vec<String> {
    STEPS.take();
    run();
    let synced = |step: String| step.strip_prefix("sync ").map(|name| name.split_inclusive("new-").next().unwrap_or_default().to_owned());
    STEPS.take().into_iter().filter_map(synced).collect()
}
