// The official TypeScript client of the second generation, in every way in which it settles on a protocol, over both
// transports: the journey without forms, and forms where the protocol has them.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_BINARY, KEYRACK_TEST_FOLDER (an empty one).
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport, getDefaultEnvironment } from "@modelcontextprotocol/client/stdio";
import { errors, forms } from "../node/forms.mjs";
import { journey } from "../node/journey.mjs";

const modes = { legacy: "2025-11-25", auto: "2026-07-28", pinned: "2026-07-28" };

function http() {
  const headers = { authorization: `Bearer ${process.env.KEYRACK_TEST_ROOT_KEY}` };
  return new StreamableHTTPClientTransport(new URL(`${process.env.KEYRACK_TEST_URL}/mcp`), { requestInit: { headers } });
}

function stdio() {
  const env = { ...getDefaultEnvironment(), KEYRACK_DATA_DIR: `${process.env.KEYRACK_TEST_FOLDER}/data` };
  return new StdioClientTransport({ command: process.env.KEYRACK_TEST_BINARY, args: ["mcp"], env, stderr: "ignore" });
}

async function connected(transport, mode, person) {
  const client = new Client(
    { name: "keyrack-journey", version: "1.0.0" },
    {
      capabilities: person ? { elicitation: { form: {} } } : {},
      versionNegotiation: { mode: mode === "pinned" ? { pin: modes[mode] } : mode },
    },
  );
  if (person) {
    client.setRequestHandler("elicitation/create", ({ params }) => {
      person.asked.push(params.message);
      return person.answer;
    });
  }
  await client.connect(transport);
  assert.equal(client.getNegotiatedProtocolVersion(), modes[mode], mode);
  return client;
}

for (const [name, transport] of Object.entries({ http, stdio })) {
  for (const mode of Object.keys(modes)) {
    try {
      const plain = await connected(transport(), mode);
      await journey(plain);
      await errors(plain);
      await plain.close();
      // Without a session there is nobody to ask over HTTP in the older protocol.
      if (name === "http" && mode === "legacy") continue;
      const person = { asked: [], answer: null };
      const asking = await connected(transport(), mode, person);
      await forms(asking, person);
      await asking.close();
    } catch (error) {
      console.error(`${name} ${mode}`);
      throw error;
    }
  }
}
