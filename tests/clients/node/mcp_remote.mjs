// The journey through the real mcp-remote, started with the very JSON that README.md prints.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_README, KEYRACK_TEST_FOLDER (for mcp-remote's files).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { journey } from "./journey.mjs";

const base = process.env.KEYRACK_TEST_URL;
const documented = "http://127.0.0.1:8080";

// The client settings of the README that use mcp-remote.
function settingsFromReadme() {
  const readme = readFileSync(process.env.KEYRACK_TEST_README, "utf8");
  const blocks = [...readme.matchAll(/```json\n([\s\S]*?)```/g)].map((match) => match[1]);
  for (const block of blocks.filter((text) => text.includes("mcpServers"))) {
    const servers = Object.values(JSON.parse(block).mcpServers);
    const settings = servers.find((server) => server.args?.some((arg) => arg.startsWith("mcp-remote")));
    if (settings) return settings;
  }
  return assert.fail("README.md prints no settings with mcp-remote");
}

function transport(rootKey) {
  const { command, args, env } = settingsFromReadme();
  assert.equal(command, "npx");
  assert.ok(args.includes(`${documented}/mcp`), `${args} do not name ${documented}/mcp`);
  assert.ok(args.includes("MCP-UNKEY-BEARER-AUTH:${KEYRACK_ROOT_KEY}"), `${args}`);
  assert.ok("KEYRACK_ROOT_KEY" in env, JSON.stringify(env));
  return new StdioClientTransport({
    command,
    args: args.map((arg) => arg.replace(documented, base)),
    env: {
      ...getDefaultEnvironment(),
      ...env,
      KEYRACK_ROOT_KEY: rootKey,
      // The pinned copy beside this file, never another one.
      npm_config_offline: "true",
      MCP_REMOTE_CONFIG_DIR: process.env.KEYRACK_TEST_FOLDER,
      HOME: process.env.KEYRACK_TEST_FOLDER,
    },
    cwd: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    stderr: "pipe",
  });
}

async function connect(rootKey) {
  const carrier = transport(rootKey);
  let stderr = "";
  carrier.stderr.on("data", (chunk) => (stderr += chunk));
  const client = new Client({ name: "keyrack-journey", version: "1.0.0" });
  const refusal = await client.connect(carrier, { timeout: 30_000 }).then(() => null, (error) => error);
  return { client, carrier, refusal, stderr: () => stderr };
}

async function rightKey() {
  const { client, refusal, stderr } = await connect(process.env.KEYRACK_TEST_ROOT_KEY);
  assert.equal(refusal, null, `${refusal}\n${stderr()}`);
  try {
    await journey(client);
  } catch (error) {
    console.error(stderr());
    throw error;
  } finally {
    await client.close();
  }
}

// What the server says about a wrong key, asked for directly.
async function sentenceAboutAWrongKey(rootKey) {
  const answer = await fetch(`${base}/mcp`, {
    method: "POST",
    headers: {
      "MCP-UNKEY-BEARER-AUTH": rootKey,
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  assert.equal(answer.status, 403);
  return (await answer.json()).error.message;
}

async function wrongKey() {
  const rootKey = "keyrack_this-is-not-a-root-key-of-anyone";
  const sentence = await sentenceAboutAWrongKey(rootKey);
  const { client, refusal, stderr } = await connect(rootKey);
  await client.close();
  assert.notEqual(refusal, null, "a wrong key connects");
  const seen = `${stderr()}\n${refusal.message}`;
  assert.ok(seen.includes(sentence), `mcp-remote does not print ${JSON.stringify(sentence)}:\n${seen}`);
  assert.ok(!/browser|authorize this client/i.test(seen), `mcp-remote starts a sign-in:\n${seen}`);
}

await rightKey();
await wrongKey();
