-- Everything is found by its session, and goes with it. Names are compared and sorted byte by byte.
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 0, -- grows with each write, so that pages of two pictures are told apart
    record TEXT NOT NULL -- the record as it came, in JSON
);
CREATE INDEX IF NOT EXISTS sessions_by_age ON sessions (created_at, id);

CREATE TABLE IF NOT EXISTS streams (
    session TEXT COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    length BIGINT NOT NULL,
    PRIMARY KEY (session, name)
);

CREATE TABLE IF NOT EXISTS files (
    session TEXT COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    path TEXT COLLATE "C" NOT NULL,
    info TEXT NOT NULL, -- in JSON
    PRIMARY KEY (session, path)
);

-- Contents of streams and files: rows of bytes, each with the place of its first.
CREATE TABLE IF NOT EXISTS chunks (
    session TEXT COLLATE "C" NOT NULL REFERENCES sessions ON DELETE CASCADE,
    owner TEXT COLLATE "C" NOT NULL, -- stream/NAME or file/PATH
    start BIGINT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (session, owner, start)
);

CREATE TABLE IF NOT EXISTS leases (
    session TEXT COLLATE "C" PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    owner TEXT NOT NULL,
    address TEXT NOT NULL,
    expires BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS profiles (
    id TEXT COLLATE "C" PRIMARY KEY,
    summary TEXT NOT NULL, -- in JSON
    document TEXT NOT NULL
);

-- Pieces of contents whose write is still to come, and answers of writes that may come again. Both are of no use after an hour.
CREATE TABLE IF NOT EXISTS pieces (
    write TEXT NOT NULL,
    start BIGINT NOT NULL,
    data BYTEA NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (write, start)
);
CREATE INDEX IF NOT EXISTS pieces_by_age ON pieces (at);

CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL, -- a digest of all that was asked
    answer TEXT, -- in JSON
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (at);

-- Unix milliseconds; not of the transaction's beginning, which may be a while ago.
CREATE OR REPLACE FUNCTION now_ms() RETURNS BIGINT VOLATILE LANGUAGE SQL AS
    $$ SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT $$;
