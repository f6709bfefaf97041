// The peer: better-auth with its API-key plugin on SQLite, asked over HTTP.
// Arguments: port, permission, database file (made anew), file of keys, one plaintext per line.
//
// `verifyApiKey` has no route of its own: servers call it. Node's own HTTP server is the fastest way there.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import Database from "better-sqlite3";

const [port, permission, databaseFile, keyFile] = process.argv.slice(2);
const [resource, action] = permission.split(".");
const PLENTY = 1_000_000_000;
const WINDOW_MS = 60_000;

const database = new Database(databaseFile);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = NORMAL");

const options = {
  database,
  baseURL: `http://127.0.0.1:${port}`,
  secret: "bench-secret-8f0e3a5d-not-a-secret-at-all",
  telemetry: { enabled: false },
  emailAndPassword: { enabled: true },
  logger: { disabled: true },
  plugins: [
    apiKey({ rateLimit: { enabled: true, timeWindow: WINDOW_MS, maxRequests: PLENTY } }),
  ],
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);

// One key through the front door; the others are copies of its row under their own hashes.
const { user } = await auth.api.signUpEmail({
  body: { email: "bench@example.com", password: "not-a-secret-either", name: "Bench" },
});
const template = await auth.api.createApiKey({
  body: { userId: user.id, name: "Key", permissions: { [resource]: [action, "list"] } },
});
const { key: _, ...row } = database.prepare("SELECT * FROM apikey WHERE id = ?").get(template.id);
const columns = ["key", ...Object.keys(row)];
const insert = database.prepare(
  `INSERT INTO apikey (${columns.map((name) => `"${name}"`).join(", ")}) VALUES (${columns.map((name) => `@${name}`).join(", ")})`,
);
database.transaction((keys) => {
  keys.forEach((text, number) => {
    const hash = createHash("sha256").update(text).digest("base64url");
    insert.run({ ...row, id: `key-${number}`, name: `Key ${number}`, key: hash });
  });
})(readFileSync(keyFile, "utf8").split("\n").filter(Boolean));

async function answer(request, response) {
  if (request.url === "/readyz") {
    response.end("ready");
    return;
  }
  let text = "";
  for await (const part of request) text += part;
  const verdict = await auth.api.verifyApiKey({ body: JSON.parse(text) });
  const body = JSON.stringify(verdict);
  response.setHeader("content-type", "application/json");
  response.end(body);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "127.0.0.1");
