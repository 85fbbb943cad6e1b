//! Installs Modal's official client for Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{Error, Package, cache, run};

/// The version that `facts` are about.
const VERSION: &str = "1.6.4";

/// The directory to be in `PYTHONPATH`.
pub(crate) fn find(python: &Path) -> Result<PathBuf, Error> {
    let fill = |directory: &Path| {
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--target",
            ".",
            &format!("modal=={VERSION}"),
        ]);
        run(pip, directory, |line| line.contains("ERROR") || line.contains("No module named pip"))
    };
    let find = |directory: &Path| directory.join("modal/__init__.py").is_file().then(|| directory.to_owned());
    Package { name: &format!("modal-{VERSION}"), fill: &fill, find: &find }.install(&cache()?)
}
