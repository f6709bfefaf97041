// The journey over stdio: `keyrack mcp` with its database inside, then twice on the same data.
// Environment: KEYRACK_TEST_BINARY, KEYRACK_TEST_FOLDER (its data directory).
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { journey } from "./journey.mjs";

async function connect() {
  const carrier = new StdioClientTransport({
    command: process.env.KEYRACK_TEST_BINARY,
    args: ["mcp"],
    env: { ...getDefaultEnvironment(), KEYRACK_DATA_DIR: process.env.KEYRACK_TEST_FOLDER },
    stderr: "pipe",
  });
  let stderr = "";
  carrier.stderr.on("data", (chunk) => (stderr += chunk));
  const client = new Client({ name: "keyrack-journey", version: "1.0.0" });
  await client.connect(carrier, { timeout: 30_000 }).catch((error) => assert.fail(`${error}\n${stderr}`));
  return client;
}

async function apis(client) {
  const { structuredContent } = await client.callTool({ name: "apis_listApis", arguments: {} });
  return structuredContent.data.map((api) => api.name);
}

const one = await connect();
await journey(one);
const two = await connect();
await two.callTool({ name: "apis_createApi", arguments: { name: "made by the other" } });
assert.deepEqual(await apis(one), ["made by the other"]);
await journey(two);
await one.close();
await two.close();
