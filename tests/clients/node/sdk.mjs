// The official TypeScript SDK, pointed at Keyrack by its serverURL option and nothing else, with its own validation of
// every answer: each operation that it knows is a step of sdk_walk.mjs or listed in not_in_keyrack.json.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_MIGRATION.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { HTTPClient, Unkey } from "@unkey/api";
import { failures } from "./sdk_errors.mjs";
import { steps } from "./sdk_walk.mjs";

const serverURL = process.env.KEYRACK_TEST_URL;
const rootKey = process.env.KEYRACK_TEST_ROOT_KEY;

// Operations are named as on the wire, `keys.createKey`; one below another version is its whole path.
const pathOf = (operation) => (operation.startsWith("/") ? operation : `/v2/${operation}`);
const operationAt = (path) => path.replace(/^\/v2\//, "");

const called = new Set();
const httpClient = new HTTPClient({
  fetcher: (request) => {
    called.add(operationAt(new URL(request.url).pathname));
    return fetch(request);
  },
});
const unkey = new Unkey({ serverURL, rootKey, httpClient });

/** Calls an operation that SDK 2.5.1 does not have. */
async function operator(operation, body) {
  const answer = await fetch(`${serverURL}/v2/${operation}`, {
    method: "POST",
    headers: { authorization: `Bearer ${rootKey}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${operation}: ${text}`);
  return JSON.parse(text).data;
}

/** The operation behind each method of the SDK: `keys.createKey` → `keys.createKey`. */
function methodsOfTheSdk() {
  const functions = join(dirname(createRequire(import.meta.url).resolve("@unkey/api")), "funcs");
  const operations = new Map();
  const groups = Object.entries(Object.getOwnPropertyDescriptors(Unkey.prototype)).filter(([, member]) => member.get);
  for (const [group] of groups) {
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(unkey[group]));
    for (const method of methods.filter((name) => name !== "constructor")) {
      const file = `${group}${method[0].toUpperCase()}${method.slice(1)}.js`;
      const path = readFileSync(join(functions, file), "utf8").match(/pathToFunc\)?\("([^"]+)"\)/);
      assert.ok(path, `${file} names no path`);
      operations.set(`${group}.${method}`, operationAt(path[1]));
    }
  }
  assert.ok(operations.size >= 82, `only ${operations.size} methods were found`);
  return operations;
}

function absentOperations() {
  return Object.values(JSON.parse(readFileSync(new URL("../not_in_keyrack.json", import.meta.url), "utf8"))).flat();
}

/** Every method has a step or is absent with a reason; what is absent is still absent. */
async function everyMethodIsAccountedFor() {
  const absent = absentOperations();
  const known = [...methodsOfTheSdk().values()];
  const unaccounted = known.filter((operation) => !(operation in steps) && !absent.includes(operation));
  assert.deepEqual(unaccounted, [], "the SDK knows operations that are neither walked nor listed as absent");
  assert.deepEqual(Object.keys(steps).filter((operation) => !known.includes(operation)), [], "steps without a method");
  const { paths } = await (await fetch(`${serverURL}/openapi.json`)).json();
  for (const operation of absent) {
    assert.ok(!(pathOf(operation) in paths), `${operation} exists now: walk it, and take it off the list`);
    const answer = await fetch(`${serverURL}${pathOf(operation)}`, { method: "POST", body: "{}" });
    assert.equal(answer.status, 404, `${operation} answers, but is listed as absent`);
    assert.match((await answer.json()).error.type, /route_not_found$/);
  }
}

async function run(name, step) {
  try {
    await step({ unkey, known, operator, serverURL });
  } catch (error) {
    console.error(`failed at: ${name}${error.rawValue ? `\nthe answer: ${JSON.stringify(error.rawValue)}` : ""}`);
    throw error;
  }
}

const known = {};
await run("every method is accounted for", everyMethodIsAccountedFor);
for (const [operation, step] of Object.entries(steps)) {
  called.clear();
  await run(operation, step);
  assert.ok(called.has(operation), `the step ${operation} does not call it`);
}
for (const [name, step] of Object.entries(failures)) await run(name, step);
console.log(`${Object.keys(steps).length} operations, ${Object.keys(failures).length} failures`);
