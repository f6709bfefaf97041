// The app of README.md that @unkey/hono and @unkey/ratelimit protect, over real HTTP.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_README.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { Unkey } from "@unkey/api";

const keyrack = process.env.KEYRACK_TEST_URL;
const rootKey = process.env.KEYRACK_TEST_ROOT_KEY;
const unkey = new Unkey({ serverURL: keyrack, rootKey });

/** The program of the README with the addresses of this run. */
function program(port) {
  const blocks = [...readFileSync(process.env.KEYRACK_TEST_README, "utf8").matchAll(/```js\n([\s\S]*?)```/g)];
  const app = blocks.map(([, code]) => code).find((code) => code.includes("@unkey/hono"));
  assert.ok(app, "README.md has no app with @unkey/hono");
  const here = app.replace("http://127.0.0.1:8080", keyrack).replace("port: 3000", `port: ${port}`);
  assert.ok(here.includes(keyrack) && here.includes(`port: ${port}`), "the app's addresses are not where expected");
  return here;
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function startApp() {
  const port = await freePort();
  const app = spawn(process.execPath, ["--input-type=module", "--eval", program(port)], {
    cwd: import.meta.dirname ?? new URL(".", import.meta.url).pathname,
    env: { ...process.env, ROOT_KEY: rootKey },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const base = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 200 && app.exitCode === null; tries += 1) {
    if (await fetch(base).then(() => true, () => false)) return { app, base };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  app.kill();
  return assert.fail("the app does not listen");
}

const { app, base } = await startApp();

async function hello(key) {
  const answer = await fetch(`${base}/hello`, { headers: key ? { authorization: `Bearer ${key}` } : {} });
  return { status: answer.status, text: await answer.text() };
}

async function newKey(apiId, members = {}) {
  return (await unkey.keys.createKey({ apiId, ...members })).data;
}

try {
  const { apiId } = (await unkey.apis.createApi({ name: "app" })).data;
  const mine = await newKey(apiId);
  const disabled = await newKey(apiId, { enabled: false });

  assert.deepEqual(await hello(), { status: 401, text: '{"error":"unauthorized"}' });
  assert.deepEqual(await hello("nobody"), { status: 401, text: '{"error":"NOT_FOUND"}' });
  assert.deepEqual(await hello(disabled.key), { status: 401, text: '{"error":"DISABLED"}' });

  for (let use = 0; use < 2; use += 1) assert.deepEqual(await hello(mine.key), { status: 200, text: "hello" });
  const third = await hello(mine.key);
  assert.equal(third.status, 429, third.text);
  assert.ok(JSON.parse(third.text).reset > Date.now(), third.text);
  assert.equal((await hello((await newKey(apiId)).key)).status, 200, "another key has a limit of its own");

  await unkey.keys.deleteKey({ keyId: mine.keyId });
  assert.deepEqual(await hello(mine.key), { status: 401, text: '{"error":"NOT_FOUND"}' }, "it counts at once");
} finally {
  app.kill();
}
