//! A process that is killed by the system (`kill -9`) at any moment loses nothing that it has acknowledged.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::*;

/// Tells the process that is killed where to write.
const DIRECTORY: &str = "ADAPTER_FILESYSTEM_DIRECTORY";

/// The byte of a stream at a place.
fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// The content of a file in a version, by the version.
fn content(version: u64) -> Vec<u8> {
    format!("{version:010}\n").repeat(1 + (version % 700) as usize).into_bytes()
}

/// What is in the directory: bytes of the stream, version of the file, of the transcript, and of the name.
fn found(adapter: &FileSystem) -> [u64; 4] {
    let snapshot = snapshot(adapter);
    let events = length(adapter, "events");
    for offset in (0..events).step_by(MAX_READ_BYTES as usize) {
        let bytes = adapter.read("s", "events", offset, MAX_READ_BYTES).unwrap();
        assert!(bytes.iter().zip(offset..).all(|(there, offset)| *there == byte(offset)), "the stream has other bytes");
        assert_eq!(bytes.len() as u64, (events - offset).min(MAX_READ_BYTES.into()));
    }
    let version = |bytes: &[u8]| -> u64 {
        if bytes.is_empty() {
            return 0;
        }
        let version = str::from_utf8(&bytes[..10]).unwrap().parse().unwrap();
        assert_eq!(bytes, content(version), "a version has another's bytes");
        version
    };
    let of_file = snapshot.files.iter().map(|info| {
        let bytes = adapter.read_file("s", &info.path, 0, MAX_READ_BYTES).unwrap();
        assert_eq!(*info, file(&info.path, &bytes), "the index speaks of another version");
        version(&bytes)
    });
    let of_transcript = version(&adapter.read("s", MAIN, 0, MAX_READ_BYTES).unwrap());
    [events, of_file.max().unwrap_or(0), of_transcript, snapshot.session.name.map_or(0, |name| name.parse().unwrap())]
}

#[test]
#[ignore = "it is the process that is killed by the test below"]
fn a_writer_that_never_ends() {
    let directory = env::var(DIRECTORY).unwrap();
    let mut adapter = open(Path::new(&directory)).unwrap();
    let [mut events, mut saved, mut replaced, mut named] = found(&adapter);
    let mut output = std::io::stdout();
    loop {
        let data: Vec<u8> = (events..events + 1 + saved * 37 % 20_000).map(byte).collect();
        events = adapter.append(5, "s", "events", events, &data).unwrap();
        writeln!(output, "\n= {events} {saved} {replaced} {named}").unwrap();
        saved += 1;
        save(&mut adapter, "dir/file", &content(saved));
        writeln!(output, "= {events} {saved} {replaced} {named}").unwrap();
        replaced += 1;
        adapter.replace(5, "s", MAIN, content(replaced)).unwrap();
        writeln!(output, "= {events} {saved} {replaced} {named}").unwrap();
        named += 1;
        adapter.update_session(5, "s", renamed(&named.to_string())).unwrap();
        writeln!(output, "= {events} {saved} {replaced} {named}").unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let mut store = Store::with_session();
    let mut last = [0; 4];
    for round in 0..15 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "tests::process::a_writer_that_never_ends"])
            .env(DIRECTORY, store.directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap_or_default());
        // It has written something, and is somewhere.
        let mut acknowledged = lines.by_ref().filter(|line| line.starts_with("= ")).nth(4 + round as usize % 4).unwrap();
        thread::sleep(Duration::from_micros(round * 731 % 4_000));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.filter(|line| line.starts_with("= ")) {
            acknowledged = line;
        }
        store.reopen();
        let now = found(&store.adapter);
        let told: Vec<u64> = acknowledged.split(' ').skip(1).filter_map(|number| number.parse().ok()).collect();
        let is_kept = told.len() < 4 || now.iter().zip(&told).all(|(now, told)| now >= told);
        assert!(is_kept, "round {round}: {now:?} is there, and {told:?} was acknowledged");
        // At most the write that was under way is there besides.
        let besides = now.iter().zip(&told).filter(|(now, told)| now > told).count();
        assert!(besides <= 1, "round {round}: {now:?} is there, and only {told:?} was acknowledged");
        assert!(now.iter().zip(&last).all(|(now, last)| now >= last));
        last = now;
    }
    assert!(last.iter().all(|written| *written >= 15), "too little was written: {last:?}");
}
