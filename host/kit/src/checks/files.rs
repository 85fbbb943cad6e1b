//! Workspace files.

use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{self, Error, MAX_READ_BYTES, Store as _};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{checks, refused, same};
use crate::scratch::{FIRST, all_bytes, file, noise};

/// Files of a large workspace: as many as a host keeps by default.
const MANY: usize = 10_000;

/// Files that are saved at once.
const AT_ONCE: usize = 16;

checks! { "files", Nothing;
    /// Files come back byte for byte, by range, with all that is said of them.
    async fn come_back(scratch) {
        let (store, id, content) = (&scratch.store, scratch.session("s").await?, all_bytes());
        let (binary, empty) = (file("deep/ü 💡.bin", &content, 5)?, file("empty", b"", 6)?);
        store.save_file(FIRST, &id, &binary, content.clone()).await?;
        store.save_file(FIRST, &id, &empty, Bytes::new()).await?;
        ensure!(store::read_file(store, &id, &binary.path).await? == content, "other bytes came back");
        same!(store.read_file(&id, &binary.path, 250, 10).await?, content.slice(250..260), "ten bytes from 250 on");
        same!(store.read_file(&id, &binary.path, 10_235, 10).await?, content.slice(10_235..), "the last five bytes");
        ensure!(store.read_file(&id, &binary.path, 1_000_000, 10).await?.is_empty(), "there are bytes beyond the end");
        ensure!(store.read_file(&id, &empty.path, 0, 10).await?.is_empty(), "an empty file has bytes");
        refused!(store.read_file(&id, &binary.path, 0, MAX_READ_BYTES + 1).await, Error::Invalid(_), "reading more than 1 MiB");
        let mut found = store.load_session(&id).await?.context("the session is gone")?.files;
        found.sort_by(|one, other| one.path.cmp(&other.path));
        same!(found, [binary, empty], "the files of the snapshot");
    }

    /// A file that is saved again takes the place of the one before.
    async fn save_replaces(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        store.save_file(FIRST, &id, &file("a", &all_bytes(), 1)?, all_bytes()).await?;
        let newer = file("a", b"new", 9)?;
        for _ in 0..2 {
            store.save_file(FIRST, &id, &newer, Bytes::from_static(b"new")).await?;
        }
        same!(store::read_file(store, &id, &newer.path).await?, b"new", "the contents");
        same!(store.load_session(&id).await?.context("the session is gone")?.files, [newer], "the files of the snapshot");
    }

    /// A deleted file is gone; deleting what is not there is a success.
    async fn delete(scratch) {
        let (store, id, info) = (&scratch.store, scratch.session("s").await?, file("a", b"x", 1)?);
        store.save_file(FIRST, &id, &info, Bytes::from_static(b"x")).await?;
        for _ in 0..2 {
            store.delete_file(FIRST, &id, &info.path).await.context("deleting a file, and once more")?;
        }
        refused!(store.read_file(&id, &info.path, 0, 10).await, Error::NotFound(_), "reading a deleted file");
        store.save_file(FIRST, &id, &file("a/b", b"y", 1)?, Bytes::from_static(b"y")).await.context("a file in a directory that was a file")?;
        let left: Vec<_> = store.load_session(&id).await?.context("the session is gone")?.files.into_iter().map(|file| file.path).collect();
        same!(left, [RelativePath::new("a/b")?], "the files of the snapshot");
    }

    /// Paths are what they are: letters of any script, signs, long names, large and small letters apart.
    async fn paths_of_all_kinds(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
        let paths = ["README.md", "readme.md", "💡/🧪🧪.txt", "한국어/файл", "a b\tc", "quote's \"and\" \\ %_*?", "...", ".git/config", "e\u{301}", "é", "-rf", "~", "NUL", "a.b.c.d.", &long];
        for (content, path) in paths.iter().enumerate() {
            let content = content.to_string();
            store.save_file(FIRST, &id, &file(path, content.as_bytes(), 1)?, Bytes::from(content)).await.with_context(|| format!("saving {path:?}"))?;
        }
        for (content, path) in paths.iter().enumerate() {
            let found = store.read_file(&id, &RelativePath::new(*path)?, 0, 10).await.with_context(|| format!("reading {path:?}"))?;
            same!(found, content.to_string(), "the contents of {path:?}");
        }
        let mut found: Vec<_> = store.load_session(&id).await?.context("the session is gone")?.files.into_iter().map(|file| file.path.to_string()).collect();
        let mut wanted = paths.map(str::to_owned).to_vec();
        found.sort();
        wanted.sort();
        same!(found, wanted, "the paths of the snapshot");
    }

    /// A file of 16 MB comes back byte for byte.
    async fn large(scratch) {
        let (store, id, content) = (&scratch.store, scratch.session("s").await?, noise(16_000_000, 4));
        let info = file("large", &content, 1)?;
        store.save_file(FIRST, &id, &info, content.clone()).await.context("saving 16 MB")?;
        ensure!(store::read_file(store, &id, &info.path).await? == content, "other bytes came back");
    }

    /// A workspace of 10,000 files is kept whole, and its snapshot has all of them.
    async fn many(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        let files = (0..MANY).map(|number| (format!("src/{}/file{number}.rs", number % 97), format!("content {number}")));
        let infos: Vec<_> = files.map(|(path, content)| Ok((file(&path, content.as_bytes(), 1)?, content))).collect::<anyhow::Result<_>>()?;
        let saves = infos.iter().map(|(info, content)| store.save_file(FIRST, &id, info, Bytes::from(content.clone())));
        stream::iter(saves).buffer_unordered(AT_ONCE).try_collect::<()>().await.context("saving 10,000 files")?;
        let mut found = store.load_session(&id).await?.context("the session is gone")?.files;
        let mut wanted: Vec<_> = infos.iter().map(|(info, _)| info.clone()).collect();
        found.sort_by(|one, other| one.path.cmp(&other.path));
        wanted.sort_by(|one, other| one.path.cmp(&other.path));
        same!(found.len(), wanted.len(), "the number of files in the snapshot");
        ensure!(found == wanted, "the files of the snapshot are others");
        for (info, content) in infos.iter().step_by(997) {
            same!(store::read_file(store, &id, &info.path).await?, content.as_bytes(), "the contents of {}", info.path);
        }
    }
}
