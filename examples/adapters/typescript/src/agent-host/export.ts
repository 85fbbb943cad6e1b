/**
 * The plumbing between the component's exports and an adapter: the instance, the checks of arguments, the context of
 * errors.
 */

import type { Adapter } from "./adapter.js";
import { Config } from "./config.js";
import type { Files, Leases, Lifecycle, Profiles, Sessions, Streams } from "./contract.js";
import { invalid, other, quote } from "./error.js";
import { guard } from "./guard.js";
import { checkListed, checkNumbers, checkRead, checkRenewed, checkSessionId, checkTimeToLive } from "./limits.js";

/** The interfaces that the component exports, under the names by which the engine looks for them. */
export interface Exports {
  readonly lifecycle: Lifecycle;
  readonly sessions: Sessions;
  readonly streams: Streams;
  readonly files: Files;
  readonly profiles: Profiles;
  readonly leases: Leases;
}

/** Makes a component's exports out of an adapter, which `open` makes once in each instance. */
export function exportAdapter(open: (config: Config) => Adapter): Exports {
  let instance: Adapter | undefined;

  function adapter(): Adapter {
    if (instance === undefined) {
      throw invalid("the adapter was called before `open`");
    }
    return instance;
  }

  const lifecycle = guard<Lifecycle>(
    {
      open: () => "open the adapter",
      health: () => "check the store",
    },
    {
      open(config) {
        if (instance !== undefined) {
          throw invalid("it is already open");
        }
        instance = open(new Config(config));
        return instance.info;
      },
      health: () => adapter().health(),
    },
  );

  const sessions = guard<Sessions>(
    {
      createSession: (_epoch, session) => `create session ${quote(session.id)}`,
      loadSession: (id) => `load session ${quote(id)}`,
      updateSession: (_epoch, id) => `update session ${quote(id)}`,
      deleteSession: (_epoch, id) => `delete session ${quote(id)}`,
      listSessions: () => "list sessions",
    },
    {
      createSession(epoch, session) {
        checkSessionId(session.id);
        checkNumbers({ epoch, "creation time": session.createdAt, "time of last activity": session.lastActivity });
        adapter().sessions.createSession(epoch, session);
      },
      loadSession: (id) => adapter().sessions.loadSession(id),
      updateSession(epoch, id, changes) {
        checkNumbers({ epoch, "time of last activity": changes.lastActivity });
        adapter().sessions.updateSession(epoch, id, changes);
      },
      deleteSession(epoch, id) {
        checkNumbers({ epoch });
        adapter().sessions.deleteSession(epoch, id);
      },
      listSessions(cursor, limit) {
        checkListed(limit);
        return adapter().sessions.listSessions(cursor, limit);
      },
    },
  );

  const streams = guard<Streams>(
    {
      append: (_epoch, session, stream, offset, data) =>
        `append ${data.length} bytes at ${offset} to stream ${quote(stream)} of session ${quote(session)}`,
      read: (session, stream, offset, max) =>
        `read ${max} bytes at ${offset} of stream ${quote(stream)} of session ${quote(session)}`,
      replace: (_epoch, session, stream, data) =>
        `replace stream ${quote(stream)} of session ${quote(session)} by ${data.length} bytes`,
    },
    {
      append(epoch, session, stream, offset, data) {
        checkNumbers({ epoch, offset, "end of the append": offset + data.length });
        return adapter().streams.append(epoch, session, stream, offset, data);
      },
      read(session, stream, offset, max) {
        checkRead(offset, max);
        return adapter().streams.read(session, stream, offset, max);
      },
      replace(epoch, session, stream, data) {
        checkNumbers({ epoch });
        return adapter().streams.replace(epoch, session, stream, data);
      },
    },
  );

  const files = guard<Files>(
    {
      saveFile: (_epoch, session, file) => `save file ${quote(file.path)} of session ${quote(session)}`,
      readFile: (session, path, offset, max) =>
        `read ${max} bytes at ${offset} of file ${quote(path)} of session ${quote(session)}`,
      deleteFile: (_epoch, session, path) => `delete file ${quote(path)} of session ${quote(session)}`,
    },
    {
      saveFile(epoch, session, file, content) {
        const { size, createdAt, modifiedAt } = file;
        checkNumbers({ epoch, size, "creation time": createdAt, "modification time": modifiedAt });
        adapter().files.saveFile(epoch, session, file, content);
      },
      readFile(session, path, offset, max) {
        checkRead(offset, max);
        return adapter().files.readFile(session, path, offset, max);
      },
      deleteFile(epoch, session, path) {
        checkNumbers({ epoch });
        adapter().files.deleteFile(epoch, session, path);
      },
    },
  );

  const profiles = guard<Profiles>(
    {
      listProfiles: () => "list profiles",
      loadProfile: (id) => `load profile ${quote(id)}`,
      saveProfile: (profile) => `save profile ${quote(profile.id)}`,
      deleteProfile: (id) => `delete profile ${quote(id)}`,
    },
    {
      listProfiles: () => adapter().profiles.listProfiles(),
      loadProfile: (id) => adapter().profiles.loadProfile(id),
      saveProfile: (profile, document) => adapter().profiles.saveProfile(profile, document),
      deleteProfile: (id) => adapter().profiles.deleteProfile(id),
    },
  );

  /** The adapter's own leases. A world without the interface never comes to ask for them. */
  function leaseKeeper(): Leases {
    const { leases } = adapter();
    if (leases === undefined) {
      throw other("the adapter keeps no leases");
    }
    return leases;
  }

  const leases = guard<Leases>(
    {
      acquire: (session) => `acquire the lease of session ${quote(session)}`,
      renew: (_owner, _ttl, sessions) => `renew the leases of ${sessions.length} sessions`,
      release: (session) => `release the lease of session ${quote(session)}`,
      get: (session) => `look for the lease of session ${quote(session)}`,
    },
    {
      acquire(session, owner, ttl) {
        checkTimeToLive(ttl);
        return leaseKeeper().acquire(session, owner, ttl);
      },
      renew(owner, ttl, sessions) {
        checkTimeToLive(ttl);
        checkRenewed(sessions.length);
        return leaseKeeper().renew(owner, ttl, sessions);
      },
      release: (session, owner) => leaseKeeper().release(session, owner),
      get: (session) => leaseKeeper().get(session),
    },
  );

  return { lifecycle, sessions, streams, files, profiles, leases };
}
