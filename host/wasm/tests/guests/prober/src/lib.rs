//! An adapter that tries what it is told to, and says what came of it: `list-sessions` takes what to try as its cursor, and answers in that of the next
//! page. It does nothing else.

wit_bindgen::generate!({
    path: [
        "../../../../../wit/0.1/types",
        "../../../../../wit/0.1/sql",
        "../../../../../wit/0.1/http",
        "../../../../../wit/0.1/logging",
        "../../../../../wit/0.1/persistence",
    ],
    inline: "
        package example:prober;

        world adapter {
            include agent-host:sql/imports@0.1.0;
            include agent-host:http/imports@0.1.0;
            include wasi:logging/imports@0.1.0-draft;
            include agent-host:persistence/persistence@0.1.0;
        }
    ",
    world: "example:prober/adapter",
    generate_all,
});

use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use agent_host::http::http::{Request, fetch};
use agent_host::sql::sql::{Connection, Value};
use agent_host::types::types::{Error, FileInfo, Page, ProfileSummary, SessionChanges, SessionRecord, Snapshot};
use exports::agent_host::persistence::lifecycle::{AdapterInfo, Concurrency};
use exports::agent_host::persistence::{files, lifecycle, profiles, sessions, streams};
use wasi::logging::logging::{Level, log};

/// Longest answer in bytes: a cursor.
const MAX_ANSWER_BYTES: usize = 900;

struct Prober;

fn told<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("ok {value:?}"),
        Err(error) => format!("error {error:?}"),
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_default()
}

fn probe(what: &str) -> String {
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    match verb {
        "lookup" => {
            let found = (rest, 1).to_socket_addrs();
            told(found.map(|found| found.map(|address| address.ip().to_string()).collect::<Vec<_>>()).map_err(|_| "no address"))
        }
        "connect" => told(TcpStream::connect(rest).map(drop).map_err(|error| error.kind())),
        "echo" => told(echo(rest).map_err(|error| error.kind())),
        "listen" => told(TcpListener::bind(rest).map(drop).map_err(|error| error.kind())),
        "udp" => told(UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", rest)).map_err(|error| error.kind())),
        "fetch" => told(get(rest)),
        "read" => told(fs::read_to_string(rest).map_err(|error| error.kind())),
        "write" => told(fs::write(rest, "written").map_err(|error| error.kind())),
        "list" => told(fs::read_dir(rest).map(Iterator::count).map_err(|error| error.kind())),
        "database" => told(Connection::open(rest).map(drop)),
        "variable" => told(std::env::var(rest)),
        "hold-files" => told(held(|| fs::File::open(rest))),
        "hold-sockets" => told(held(|| TcpStream::connect(rest))),
        "hold-rows" => told(rows()),
        "hold-transactions" => told(transactions()),
        "argument" => {
            log(Level::Trace, "", &"x".repeat(number(rest)));
            "ok".to_owned()
        }
        "flood" => {
            let line = [[b'x'; 4095].as_slice(), b"\n"].concat();
            (0..number(rest))
                .try_for_each(|_| std::io::stdout().write_all(&line))
                .map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
        }
        _ => "no such probe".to_owned(),
    }
}

fn echo(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `METHOD URL [BODY-LENGTH [TIMEOUT-MS [HEADER VALUE]…]]`, answered with the status, how long the body is, and how it begins.
fn get(what: &str) -> Result<(u16, usize, String), agent_host::http::http::Error> {
    let words: Vec<&str> = what.split(' ').collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default();
    let headers = words.get(4..).unwrap_or_default();
    let response = fetch(&Request {
        method: word(0).to_owned(),
        url: word(1).to_owned(),
        headers: headers.chunks(2).map(|pair| (pair[0].to_owned(), pair.get(1).unwrap_or(&"").as_bytes().to_vec())).collect(),
        body: Some(number(word(2))).filter(|length| *length > 0).map(|length| vec![b'x'; length]),
        timeout_ms: word(3).parse().ok(),
    })?;
    let begins = response.body.iter().take(200).copied().collect();
    Ok((response.status, response.body.len(), String::from_utf8(begins).unwrap_or_default()))
}

/// Opens without end, until it is refused, or the instance.
fn held<T, E: Debug>(open: impl Fn() -> Result<T, E>) -> Result<(), (usize, E)> {
    let mut held = Vec::new();
    loop {
        match open() {
            Ok(one) => held.push(one),
            Err(error) => return Err((held.len(), error)),
        }
    }
}

fn rows() -> Result<(), (usize, agent_host::sql::sql::Error)> {
    let database = Connection::open("main").map_err(|error| (0, error))?;
    held(|| database.query("SELECT ?1", &[Value::Text("x".repeat(1024 * 1024))]))
}

fn transactions() -> Result<(), (usize, agent_host::sql::sql::Error)> {
    let database = Connection::open("main").map_err(|error| (0, error))?;
    held(|| database.begin())
}

fn not_here<T>() -> Result<T, Error> {
    Err(Error::Invalid("not what this adapter is for".to_owned()))
}

impl lifecycle::Guest for Prober {
    fn open(_: Vec<(String, String)>) -> Result<AdapterInfo, Error> {
        Ok(AdapterInfo { name: "prober".to_owned(), version: "0.1.0".to_owned(), concurrency: Concurrency::Pooled, extra: None })
    }

    fn health() -> Result<(), Error> {
        Ok(())
    }
}

impl sessions::Guest for Prober {
    fn create_session(_: u64, _: SessionRecord) -> Result<(), Error> {
        not_here()
    }

    fn load_session(_: String) -> Result<Option<Snapshot>, Error> {
        not_here()
    }

    fn update_session(_: u64, _: String, _: SessionChanges) -> Result<(), Error> {
        not_here()
    }

    fn delete_session(_: u64, _: String) -> Result<(), Error> {
        not_here()
    }

    fn list_sessions(what: Option<String>, _: u32) -> Result<Page, Error> {
        let mut answer = probe(&what.unwrap_or_default());
        answer.truncate(MAX_ANSWER_BYTES);
        Ok(Page { sessions: vec![], next: Some(answer) })
    }
}

impl streams::Guest for Prober {
    fn append(_: u64, _: String, _: String, _: u64, _: Vec<u8>) -> Result<u64, Error> {
        not_here()
    }

    fn read(_: String, _: String, _: u64, _: u32) -> Result<Vec<u8>, Error> {
        not_here()
    }

    fn replace(_: u64, _: String, _: String, _: Vec<u8>) -> Result<u64, Error> {
        not_here()
    }
}

impl files::Guest for Prober {
    fn save_file(_: u64, _: String, _: FileInfo, _: Vec<u8>) -> Result<(), Error> {
        not_here()
    }

    fn read_file(_: String, _: String, _: u64, _: u32) -> Result<Vec<u8>, Error> {
        not_here()
    }

    fn delete_file(_: u64, _: String, _: String) -> Result<(), Error> {
        not_here()
    }
}

impl profiles::Guest for Prober {
    fn list_profiles() -> Result<Vec<ProfileSummary>, Error> {
        not_here()
    }

    fn load_profile(_: String) -> Result<Option<String>, Error> {
        not_here()
    }

    fn save_profile(_: ProfileSummary, _: String) -> Result<(), Error> {
        not_here()
    }

    fn delete_profile(_: String) -> Result<(), Error> {
        not_here()
    }
}

export!(Prober);
