//! An adapter that does what none may do. `load-session` does what its id says; `list-sessions` answers with the number of calls that this
//! instance has had, as the cursor of the next page. The configuration says whether it is `single`, and whether `open` fails.

wit_bindgen::generate!({
    path: ["../../../../../wit/0.1/types", "../../../../../wit/0.1/sql", "../../../../../wit/0.1/logging", "../../../../../wit/0.1/persistence"],
    inline: "
        package example:misbehaving;

        world adapter {
            include agent-host:sql/imports@0.1.0;
            include wasi:logging/imports@0.1.0-draft;
            include agent-host:persistence/persistence@0.1.0;
        }
    ",
    world: "example:misbehaving/adapter",
    generate_all,
});

use std::cell::{Cell, RefCell};
use std::time::Duration;

use agent_host::sql::sql::{Connection, Error as SqlError, Transaction, Value};
use agent_host::types::types::{Error, FileInfo, Page, ProfileSummary, SessionChanges, SessionRecord, Snapshot, StreamInfo};
use exports::agent_host::persistence::lifecycle::{AdapterInfo, Concurrency};
use exports::agent_host::persistence::{files, lifecycle, profiles, sessions, streams};
use wasi::logging::logging::{Level, log};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static FORGOTTEN: RefCell<Vec<Transaction>> = const { RefCell::new(Vec::new()) };
}

struct Misbehaving;

fn count() {
    CALLS.set(CALLS.get() + 1);
}

fn failed(error: SqlError) -> Error {
    Error::Other(format!("{error:?}"))
}

fn database() -> Result<Connection, Error> {
    Connection::open("main").map_err(failed)
}

/// Begins, writes a row, and gives the open transaction.
fn begin(row: &str) -> Result<Transaction, Error> {
    let transaction = database()?.begin().map_err(failed)?;
    transaction.execute("INSERT INTO rows (name) VALUES (?1)", &[Value::Text(row.to_owned())]).map_err(failed)?;
    Ok(transaction)
}

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

/// What was told to be done; an answer is told as an error, which carries text.
fn act(what: &str) -> Result<Option<Snapshot>, Error> {
    match what {
        "trap" => panic!("as told"),
        "exit" => std::process::exit(3),
        "spin" => spin(),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "nap" => std::thread::sleep(Duration::from_millis(500)),
        "hog" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                let mut piece = Vec::new();
                if piece.try_reserve_exact(1024 * 1024).is_err() {
                    return Err(Error::Other(format!("{} MiB", held.len())));
                }
                piece.resize(1024 * 1024, 1);
                held.push(piece);
            }
        }
        "flood" => {
            for line in 0..100_000 {
                println!("line {line}");
            }
        }
        "say" => {
            println!("from stdout");
            eprintln!("from stderr\u{1b}[31m");
            log(Level::Error, "part", "from logging");
        }
        "look-around" => {
            let files = std::fs::read_dir("/").map(|entries| entries.count());
            let variables = std::env::vars().count();
            let network = std::net::TcpStream::connect("127.0.0.1:1").map(drop).map_err(|error| error.kind());
            let lookup = std::net::ToSocketAddrs::to_socket_addrs("localhost:1").map(drop).map_err(|_| ());
            return Err(Error::Other(format!("files {}, variables {variables}, network {network:?}, lookup {lookup:?}", files.is_ok())));
        }
        "use-grants" => {
            let read = std::fs::read_to_string("/granted/hello").unwrap_or_default();
            let write = std::fs::write("/granted/new", "x").is_ok();
            let escape = std::fs::read("/granted/../../etc/passwd").is_ok();
            let variable = std::env::var("GRANTED").unwrap_or_default();
            return Err(Error::Other(format!("read {read:?}, write {write}, escape {escape}, variable {variable:?}")));
        }
        "trap-in-transaction" => {
            let _open = begin(what)?;
            panic!("as told");
        }
        "spin-in-transaction" => {
            let _open = begin(what)?;
            spin();
        }
        "sleep-in-transaction" => {
            let _open = begin(what)?;
            std::thread::sleep(Duration::from_secs(3600));
        }
        "forget-transaction" => {
            let open = begin(what)?;
            FORGOTTEN.with_borrow_mut(|forgotten| forgotten.push(open));
        }
        "commit-forgotten" => {
            let open = FORGOTTEN.with_borrow_mut(|forgotten| forgotten.pop());
            return Err(Error::Other(format!("{:?}", open.map(|open| open.commit()))));
        }
        "endless-query" => {
            let sql = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers";
            database()?.query(sql, &[]).map_err(failed)?;
        }
        "leak" => {
            let mut held = Vec::new();
            loop {
                held.push(database()?);
            }
        }
        "other-database" => {
            Connection::open("secrets").map_err(failed)?;
        }
        "lie" => {
            let session = SessionRecord {
                id: "lie".to_owned(),
                created_at: u64::MAX,
                last_activity: 0,
                profile: "../p".to_owned(),
                architecture: "x".to_owned(),
                name: None,
                options: None,
                extra: None,
            };
            return Ok(Some(Snapshot {
                epoch: 1,
                session,
                streams: vec![StreamInfo { name: "events".to_owned(), length: 1 }],
                files: vec![],
            }));
        }
        "rubbish" => {
            let session = SessionRecord {
                id: "rubbish".to_owned(),
                created_at: 1,
                last_activity: 1,
                profile: "default".to_owned(),
                architecture: "x".to_owned(),
                name: None,
                options: Some("{not: json".to_owned()),
                extra: None,
            };
            return Ok(Some(Snapshot { epoch: 1, session, streams: vec![], files: vec![] }));
        }
        other => {
            if let Some(row) = other.strip_prefix("insert-") {
                begin(row)?.commit().map_err(failed)?;
            }
        }
    }
    Ok(None)
}

fn not_here<T>() -> Result<T, Error> {
    Err(Error::Invalid("not what this adapter is for".to_owned()))
}

impl lifecycle::Guest for Misbehaving {
    fn open(config: Vec<(String, String)>) -> Result<AdapterInfo, Error> {
        let says = |key: &str| config.iter().any(|(name, value)| name == key && value == "yes");
        if says("fail") {
            return Err(Error::Unavailable("told to fail".to_owned()));
        }
        if let Ok(database) = database() {
            database.execute("CREATE TABLE IF NOT EXISTS rows (name TEXT NOT NULL)", &[]).map_err(failed)?;
        }
        let concurrency = if says("single") { Concurrency::Single } else { Concurrency::Pooled };
        Ok(AdapterInfo { name: "misbehaving".to_owned(), version: "0.1.0".to_owned(), concurrency, extra: None })
    }

    fn health() -> Result<(), Error> {
        Ok(())
    }
}

impl sessions::Guest for Misbehaving {
    fn create_session(_: u64, _: SessionRecord) -> Result<(), Error> {
        not_here()
    }

    fn load_session(id: String) -> Result<Option<Snapshot>, Error> {
        count();
        act(&id)
    }

    fn update_session(_: u64, _: String, _: SessionChanges) -> Result<(), Error> {
        not_here()
    }

    fn delete_session(_: u64, _: String) -> Result<(), Error> {
        not_here()
    }

    fn list_sessions(_: Option<String>, _: u32) -> Result<Page, Error> {
        count();
        Ok(Page { sessions: vec![], next: Some(CALLS.get().to_string()) })
    }
}

impl streams::Guest for Misbehaving {
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

impl files::Guest for Misbehaving {
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

impl profiles::Guest for Misbehaving {
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

export!(Misbehaving);
