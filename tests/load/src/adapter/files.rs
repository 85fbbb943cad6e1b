//! A native program on plain files, as the adapter `filesystem` has them: the bytes are synchronized, and then a line that says how many of them count.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Native;

pub(super) struct Program(PathBuf);

impl Program {
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir(directory).context("failed to make a directory")?;
        let program = Self(directory.to_owned());
        fs::write(program.record(), br#"{"id":"load","createdAt":0,"profile":"default"}"#)?;
        fs::write(program.index(), b"")?;
        Ok(program)
    }

    fn record(&self) -> PathBuf {
        self.0.join("session.json")
    }

    fn index(&self) -> PathBuf {
        self.0.join("index.jsonl")
    }
}

impl Native for Program {
    async fn append(&mut self, stream: &str, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        let mut file: File = OpenOptions::new().create(true).truncate(false).write(true).open(self.0.join(format!("{stream}.jsonl")))?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)?;
        file.sync_data()?;
        let line = format!("{{\"epoch\":1,\"stream\":\"{stream}\",\"length\":{}}}\n", offset + data.len() as u64);
        let mut index = OpenOptions::new().append(true).open(self.index())?;
        index.write_all(line.as_bytes())?;
        Ok(index.sync_data()?)
    }

    async fn load(&mut self) -> anyhow::Result<()> {
        // The adapter knows the lines that it has read once, and looks only whether there are others.
        fs::metadata(self.index())?;
        serde_json::from_slice::<serde_json::Value>(&fs::read(self.record())?)?;
        Ok(())
    }
}
