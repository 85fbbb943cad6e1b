import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type Adapter,
  AdapterError,
  exportAdapter,
  type FileInfo,
  type SessionRecord,
} from "../src/agent-host/index.js";

const SESSION: SessionRecord = { id: "a", createdAt: 1, lastActivity: 1, profile: "p", architecture: "x" };
const FILE: FileInfo = { path: "f", size: 1, sha256: "0".repeat(64), createdAt: 1, modifiedAt: 1 };
const DATA = new Uint8Array([1]);
const TOO_LARGE = 2 ** 53;

/** An adapter that does whatever it is asked to. */
const willing: Adapter = {
  info: { name: "willing", version: "1.0.0", concurrency: "single" },
  health() {},
  sessions: {
    createSession() {},
    loadSession: () => undefined,
    updateSession() {},
    deleteSession() {},
    listSessions: () => ({ sessions: [] }),
  },
  streams: {
    append: (_epoch, _session, _stream, offset, data) => offset + data.length,
    read: () => DATA,
    replace: () => 1,
  },
  files: { saveFile() {}, readFile: () => DATA, deleteFile() {} },
  profiles: { listProfiles: () => [], loadProfile: () => undefined, saveProfile() {}, deleteProfile() {} },
};

const opened = () => {
  const component = exportAdapter(() => willing);
  component.lifecycle.open([]);
  return component;
};

function refused(call: () => unknown, tag: AdapterError["payload"]["tag"], text: RegExp): void {
  assert.throws(call, (error) => {
    assert.ok(error instanceof AdapterError, `${String(error)} would be a trap`);
    assert.equal(error.payload.tag, tag);
    assert.match(String(error.payload.val), text);
    return true;
  });
}

test("an adapter is opened once, with its configuration, and before anything else", () => {
  const component = exportAdapter((config) => ({
    ...willing,
    info: { ...willing.info, name: config.get("name") ?? "" },
  }));
  refused(() => component.lifecycle.health(), "invalid", /^failed to check the store: .* before `open`$/);
  assert.equal(component.lifecycle.open([["name", "x"]]).name, "x");
  component.lifecycle.health();
  refused(() => component.lifecycle.open([]), "invalid", /already open/);
});

test("an adapter that could not be opened can be opened again", () => {
  const component = exportAdapter((config) => {
    config.only("database");
    return willing;
  });
  refused(
    () => component.lifecycle.open([["databse", "x"]]),
    "invalid",
    /unknown configuration key "databse"; known are: database$/,
  );
  assert.equal(component.lifecycle.open([["database", "x"]]).name, "willing");
});

test("numbers that are none of the contract's are refused", () => {
  const { sessions, streams, files } = opened();
  const calls: [() => unknown, RegExp][] = [
    [() => sessions.createSession(TOO_LARGE, SESSION), /the epoch 9007199254740992 is not/],
    [
      () => sessions.createSession(1, { ...SESSION, createdAt: TOO_LARGE }),
      /^failed to create session "a": the creation time/,
    ],
    [() => sessions.createSession(1, { ...SESSION, lastActivity: TOO_LARGE }), /time of last activity/],
    [() => sessions.updateSession(TOO_LARGE, "a", {}), /epoch/],
    [() => sessions.updateSession(1, "a", { lastActivity: TOO_LARGE }), /time of last activity/],
    [() => sessions.deleteSession(TOO_LARGE, "a"), /epoch/],
    [() => streams.append(TOO_LARGE, "a", "events", 0, DATA), /epoch/],
    [() => streams.append(1, "a", "events", TOO_LARGE - 1, DATA), /end of the append/],
    [() => streams.replace(TOO_LARGE, "a", "events", DATA), /epoch/],
    [() => streams.read("a", "events", TOO_LARGE, 1), /offset/],
    [() => files.saveFile(1, "a", { ...FILE, size: TOO_LARGE }, DATA), /size/],
    [() => files.saveFile(1, "a", { ...FILE, modifiedAt: TOO_LARGE }, DATA), /modification time/],
    [() => files.deleteFile(TOO_LARGE, "a", "f"), /epoch/],
  ];
  for (const [call, text] of calls) {
    refused(call, "invalid", text);
  }
});

test("numbers up to the last one of the contract are allowed, and what is absent is", () => {
  const { sessions, streams } = opened();
  sessions.createSession(TOO_LARGE - 1, { ...SESSION, createdAt: TOO_LARGE - 1, name: null });
  sessions.updateSession(1, "a", { lastActivity: null });
  assert.equal(streams.append(1, "a", "events", TOO_LARGE - 2, DATA), TOO_LARGE - 1);
  assert.deepEqual(streams.read("a", "events", TOO_LARGE - 1, 1024 * 1024), DATA);
});

test("no more is asked for at once than the contract allows", () => {
  const { sessions, streams, files } = opened();
  refused(() => streams.read("a", "events", 0, 1024 * 1024 + 1), "invalid", /1048577 bytes are more/);
  refused(() => files.readFile("a", "f", 0, 1024 * 1024 + 1), "invalid", /1048577 bytes are more/);
  for (const limit of [0, 1001]) {
    refused(() => sessions.listSessions(null, limit), "invalid", /^failed to list sessions: the limit/);
  }
  assert.deepEqual(sessions.listSessions(null, 1000), { sessions: [] });
});

test("a session's id is what the contract says", () => {
  const { sessions } = opened();
  for (const id of ["a", "A.b_c-9", "-", "_", "x".repeat(128)]) {
    sessions.createSession(1, { ...SESSION, id });
  }
  for (const id of ["", ".a", "a/b", "ä", "a\n", "x".repeat(129)]) {
    refused(() => sessions.createSession(1, { ...SESSION, id }), "invalid", /a session id is/);
  }
});

test("leases are checked, and refused where an adapter keeps none", () => {
  const none = opened();
  refused(() => none.leases.get("a"), "other", /keeps no leases/);
  const component = exportAdapter(() => ({
    ...willing,
    leases: { acquire: (_session, owner) => ({ owner, expiresIn: 1 }), renew: () => [], release() {}, get: () => null },
  }));
  component.lifecycle.open([]);
  const owner = { id: "h", address: "https://h" };
  for (const ttl of [0, 24 * 60 * 60 * 1000 + 1]) {
    refused(() => component.leases.acquire("a", owner, ttl), "invalid", /a lease of/);
    refused(() => component.leases.renew("h", ttl, []), "invalid", /a lease of/);
  }
  refused(() => component.leases.renew("h", 1, Array<string>(501).fill("a")), "invalid", /501 sessions/);
  assert.deepEqual(component.leases.acquire("a", owner, 1), { owner, expiresIn: 1 });
});
