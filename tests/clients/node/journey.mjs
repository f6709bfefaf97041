// The journey of an assistant over MCP, whatever carries it: create an API, create a key with a rate limit of
// 3 per minute and 5 credits, verify it until it is limited, read it back, delete it.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const needed = [
  "apis_createApi",
  "apis_deleteApi",
  "apis_listApis",
  "keys_createKey",
  "keys_deleteKey",
  "keys_getKey",
  "keys_verifyKey",
  "workspace_getOverview",
];

// Windows are whole minutes: three verifications must not straddle two of them.
async function awayFromTheMinutesEnd() {
  const left = 60_000 - (Date.now() % 60_000);
  if (left < 10_000) await sleep(left + 100);
}

async function call(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content?.find((block) => block.type === "text")?.text;
  assert.ok(text, `${name} answers with a text block`);
  assert.ok(!result.isError, `${name}: ${text}`);
  return { ...result, text, data: result.structuredContent?.data };
}

async function failing(client, name, args, pattern) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content?.find((block) => block.type === "text")?.text ?? "";
  assert.equal(result.isError, true, `${name} should fail: ${text}`);
  assert.match(text, pattern);
  return text;
}

// What deletes asks first; a client without forms is told how to say that the user agreed.
async function agreed(client, name, args) {
  const refusal = await failing(client, name, args, /Nothing was changed: the user has to agree first/);
  const [, confirmToken] = refusal.match(/`confirmToken`: "([^"]+)"/);
  return call(client, name, { ...args, confirmToken });
}

export async function journey(client) {
  const { tools } = await client.listTools();
  const names = tools.map((tool) => tool.name);
  for (const name of needed) assert.ok(names.includes(name), `${name} is not among ${names}`);
  assert.deepEqual(names, [...names].sort(), "tools are sorted by name");
  for (const tool of tools) {
    assert.match(tool.name, /^[a-zA-Z0-9_-]{1,34}$/);
    assert.equal(tool.inputSchema.type, "object", tool.name);
    assert.equal(typeof tool.annotations?.readOnlyHint, "boolean", tool.name);
  }
  assert.ok(!names.includes("rootKeys_createKey"), "tools for root keys are offered only where they are asked for");

  const overview = await call(client, "workspace_getOverview", {});
  assert.match(overview.data.workspace.id, /^ws_/);
  const { apiId } = (await call(client, "apis_createApi", { name: "mobile app" })).data;
  const created = await call(client, "keys_createKey", {
    apiId,
    name: "Mobile",
    credits: { remaining: 5 },
    ratelimits: [{ name: "requests", limit: 3, duration: 60_000, autoApply: true }],
  });
  const { keyId, key } = created.data;
  assert.ok(created.text.includes(key), "the text block holds the same value");

  await awayFromTheMinutesEnd();
  const codes = [];
  for (let n = 0; n < 4; n += 1) {
    const verified = await call(client, "keys_verifyKey", { key });
    assert.equal(verified.data.valid, verified.data.code === "VALID");
    codes.push(verified.data.code);
  }
  assert.deepEqual(codes, ["VALID", "VALID", "VALID", "RATE_LIMITED"]);

  const read = (await call(client, "keys_getKey", { keyId })).data;
  assert.equal(read.keyId, keyId);
  assert.equal(read.name, "Mobile");
  assert.equal(read.credits.remaining, 2);

  await failing(client, "keys_createKey", { apiId, byteLength: 3, nonsense: 1 }, /byteLength[\s\S]*nonsense|nonsense[\s\S]*byteLength/);
  await agreed(client, "keys_deleteKey", { keyId });
  assert.equal((await call(client, "keys_verifyKey", { key })).data.code, "NOT_FOUND");
  await failing(client, "keys_getKey", { keyId }, /404/);
  await agreed(client, "apis_deleteApi", { apiId });
}
