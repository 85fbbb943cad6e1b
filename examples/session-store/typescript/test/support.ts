/** The host that the test's command names. */

import { randomUUID } from "node:crypto";

import type { SessionStoreEntry } from "@anthropic-ai/claude-agent-sdk";

import { AgentHostSessionStore, type AgentHostOptions } from "../src/session-store.js";

const { AGENT_HOST_URL, AGENT_HOST_KEY } = process.env;

/** Stores of a namespace that no other test has, as if each were in another program. */
export function programs(): (options?: AgentHostOptions) => AgentHostSessionStore {
  if (!AGENT_HOST_URL) throw new Error("AGENT_HOST_URL must be the URL of a running host");
  const url = AGENT_HOST_URL;
  const namespace = `test-${randomUUID()}/`;
  const key = AGENT_HOST_KEY ? { apiKey: AGENT_HOST_KEY } : {};
  return (options = {}) => new AgentHostSessionStore(url, { ...key, namespace, ...options });
}

/** An entry. What is in it is none of a store's business. */
export function entry(members: Record<string, unknown>): SessionStoreEntry {
  return { type: "x", ...members };
}
