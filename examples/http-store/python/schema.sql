-- Everything is found by its session, and goes with it.
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 0, -- grows with each write, so that pages of two pictures are told apart
    record TEXT NOT NULL -- the record as it came, in JSON
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_age ON sessions (created_at, id);

CREATE TABLE IF NOT EXISTS streams (
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    name TEXT NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS files (
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    path TEXT NOT NULL,
    info TEXT NOT NULL, -- in JSON
    PRIMARY KEY (session, path)
) STRICT, WITHOUT ROWID;

-- Contents of streams and files: rows of bytes, each with the place of its first.
CREATE TABLE IF NOT EXISTS chunks (
    session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    owner TEXT NOT NULL, -- stream/NAME or file/PATH
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (session, owner, start)
) STRICT;

CREATE TABLE IF NOT EXISTS leases (
    session TEXT PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    owner TEXT NOT NULL,
    address TEXT NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS profiles (
    id TEXT PRIMARY KEY,
    summary TEXT NOT NULL, -- in JSON
    document TEXT NOT NULL
) STRICT;

-- Pieces of contents whose write is still to come, and answers of writes that may come again. Both are of no use after an hour.
CREATE TABLE IF NOT EXISTS pieces (
    write TEXT NOT NULL,
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (write, start)
) STRICT;
CREATE INDEX IF NOT EXISTS pieces_by_age ON pieces (at);

CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL, -- a digest of all that was asked
    answer BLOB NOT NULL, -- in JSON
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);
