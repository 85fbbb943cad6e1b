//! The granted directory: what is where in it, and how it comes to be.

use std::path::{Path, PathBuf};

use agent_host_adapter::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Kind, Scratch};
use crate::sessions::Directories;

/// Says how the files are laid out.
const MARK: &str = "agent-host.json";

/// The layout that this adapter reads and writes. A later one has a higher number, and an earlier adapter refuses it.
const VERSION: u32 = 1;

/// For what is not to be kept: what is derived, and what is not finished.
const OWN: &str = ".agent-host";

/// What git is told, unless somebody has told it something: to leave line ends as they are, since bytes are counted; and to pass over what is not to be kept.
const FOR_GIT: [(&str, &str); 2] = [(".gitattributes", "* -text\n"), (".agent-host/.gitignore", "*\n")];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    layout: u32,
}

pub(crate) struct Root(PathBuf);

impl Root {
    /// Makes what is missing, and removes what calls that were broken off have left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if disk::kind(path)? != Kind::Directory {
            let path = path.display();
            return Err(Error::invalid(format!(
                "there is no directory {path}: it has to be granted, as in dirs = [{{ host = \"/var/lib/sessions\", guest = \"{path}\", write = true }}]"
            )));
        }
        let root = Self(path.to_owned());
        for directory in [OWN.into(), root.sessions().path().to_owned(), root.profiles()] {
            disk::ensure_directory(&root.0.join(directory))?;
        }
        root.check_mark()?;
        for (name, text) in FOR_GIT {
            let path = root.0.join(name);
            if disk::kind(&path)? == Kind::Nothing {
                root.scratch().replace(&path, text.as_bytes())?;
            }
        }
        root.scratch().sweep()?;
        Ok(root)
    }

    fn check_mark(&self) -> Result<()> {
        let path = self.0.join(MARK);
        let Some(text) = disk::read_from(&path, 0)? else {
            let mark = serde_json::to_string(&Mark { layout: VERSION });
            let mark = mark.map_err(|error| Error::other(format!("failed to write {MARK} as JSON: {error}")))?;
            return self.scratch().replace(&path, (mark + "\n").as_bytes());
        };
        match serde_json::from_slice(&text) {
            Ok(Mark { layout: VERSION }) => Ok(()),
            Ok(Mark { layout }) => {
                Err(Error::invalid(format!("{} has the layout {layout}; this adapter knows {VERSION}", self.0.display())))
            }
            Err(error) => Err(Error::corrupt(format!("{} cannot be read: {error}", path.display()))),
        }
    }

    /// Whether it is there.
    pub(crate) fn check(&self) -> Result<()> {
        let path = self.sessions().path().to_owned();
        if disk::kind(&path)? == Kind::Directory { Ok(()) } else { Err(Error::unavailable(format!("{} is gone", path.display()))) }
    }

    pub(crate) fn sessions(&self) -> Directories {
        Directories::new(self.0.join("sessions"))
    }

    pub(crate) fn profiles(&self) -> PathBuf {
        self.0.join("profiles")
    }

    pub(crate) fn listing(&self) -> PathBuf {
        self.0.join(OWN).join("listing.jsonl")
    }

    pub(crate) fn scratch(&self) -> Scratch {
        Scratch::new(self.0.join(OWN))
    }
}
