// The official TypeScript client of the first generation: the journey over streamable HTTP, and forms over stdio.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_BINARY, KEYRACK_TEST_FOLDER (an empty one).
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { errors, forms } from "./forms.mjs";
import { journey } from "./journey.mjs";

const information = { name: "keyrack-journey", version: "1.0.0" };

async function overHttp() {
  const headers = { authorization: `Bearer ${process.env.KEYRACK_TEST_ROOT_KEY}` };
  const client = new Client(information);
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${process.env.KEYRACK_TEST_URL}/mcp`), { requestInit: { headers } }),
  );
  assert.match(client.getInstructions(), /It is now/);
  await journey(client);
  await errors(client);
  await client.close();
}

async function overStdio() {
  const person = { asked: [], answer: null };
  const client = new Client(information, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    person.asked.push(params.message);
    return person.answer;
  });
  const env = { ...getDefaultEnvironment(), KEYRACK_DATA_DIR: `${process.env.KEYRACK_TEST_FOLDER}/data` };
  await client.connect(
    new StdioClientTransport({ command: process.env.KEYRACK_TEST_BINARY, args: ["mcp"], env, stderr: "ignore" }),
  );
  await forms(client, person);
  await errors(client);
  await client.close();
}

await overHttp();
await overStdio();
