// A journey with the official TypeScript SDK, pointed at Keyrack by its serverURL option and nothing else.
// Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY.
import assert from "node:assert/strict";
import { Unkey } from "@unkey/api";
import * as errors from "@unkey/api/models/errors";

const serverURL = process.env.KEYRACK_TEST_URL;
const rootKey = process.env.KEYRACK_TEST_ROOT_KEY;
const unkey = new Unkey({ serverURL, rootKey });
const window = 2_592_000_000;

async function createVerifyReadUpdate() {
  const api = (await unkey.apis.createApi({ name: "payments" })).data;
  assert.match(api.apiId, /^api_/);
  assert.deepEqual((await unkey.apis.getApi({ apiId: api.apiId })).data, { id: api.apiId, name: "payments" });
  const created = (
    await unkey.keys.createKey({
      apiId: api.apiId,
      prefix: "acme",
      name: "Mobile",
      externalId: "customer_1",
      meta: { plan: "pro" },
      permissions: ["docs.read"],
      expires: Date.now() + 86_400_000,
      credits: { remaining: 10, refill: { interval: "monthly", amount: 10, refillDay: 31 } },
      ratelimits: [{ name: "calls", limit: 5, duration: window, autoApply: true }],
    })
  ).data;
  assert.match(created.key, /^acme_/);
  const verified = (
    await unkey.keys.verifyKey({ key: created.key, permissions: "docs.read", credits: { cost: 3 }, tags: ["path=/"] })
  ).data;
  assert.equal(verified.valid, true);
  assert.equal(verified.code, "VALID");
  assert.equal(verified.credits, 7);
  assert.equal(verified.ratelimits[0].remaining, 4);
  const read = (await unkey.keys.getKey({ keyId: created.keyId })).data;
  assert.equal(read.identity.externalId, "customer_1");
  assert.deepEqual(read.meta, { plan: "pro" });
  assert.deepEqual(read.credits.refill, { interval: "monthly", amount: 10, refillDay: 31 });
  assert.equal((await unkey.keys.whoami({ key: created.key })).data.keyId, created.keyId);
  await unkey.keys.updateKey({ keyId: created.keyId, name: "Desktop", meta: null, expires: null, enabled: false });
  const updated = (await unkey.keys.getKey({ keyId: created.keyId })).data;
  assert.equal(updated.name, "Desktop");
  assert.equal(updated.meta, undefined);
  assert.equal(updated.expires, undefined);
  assert.equal((await unkey.keys.verifyKey({ key: created.key })).data.code, "DISABLED");
  return { apiId: api.apiId, ...created };
}

async function listAndDelete({ apiId, keyId, key }) {
  for (let n = 0; n < 4; n += 1) await unkey.keys.createKey({ apiId });
  const seen = [];
  for await (const page of await unkey.apis.listKeys({ apiId, limit: 2 })) {
    assert.ok(page.result.data.length <= 2);
    seen.push(...page.result.data.map((one) => one.keyId));
  }
  assert.equal(seen.length, 5);
  assert.deepEqual(seen, [...new Set(seen)].sort());
  await unkey.keys.deleteKey({ keyId });
  assert.equal((await unkey.keys.verifyKey({ key })).data.code, "NOT_FOUND");
  await unkey.apis.deleteApi({ apiId });
}

async function otherOperations() {
  const permission = await unkey.permissions.createPermission({ name: "Read", slug: "docs.list" });
  assert.match(permission.data.permissionId, /^perm_/);
  const role = await unkey.permissions.createRole({ name: "reader", permissions: ["docs.list"] });
  assert.match(role.data.roleId, /^role_/);
  const identity = await unkey.identities.createIdentity({ externalId: "customer_2", meta: { a: 1 } });
  const found = await unkey.identities.getIdentity({ identity: "customer_2" });
  assert.deepEqual(found.data, { id: identity.data.identityId, externalId: "customer_2", meta: { a: 1 } });
  for (const success of [true, true, false]) {
    const limited = await unkey.ratelimit.limit({ namespace: "email", identifier: "user", limit: 2, duration: window });
    assert.equal(limited.data.success, success);
  }
}

async function rejects(call, type, status, code) {
  const error = await call.then(
    () => assert.fail(`expected ${type.name}`),
    (reason) => reason,
  );
  assert.ok(error instanceof type, `${error.constructor.name} instead of ${type.name}: ${error.message}`);
  assert.equal(error.statusCode, status);
  assert.ok(error.data$.error.type.endsWith(code), error.data$.error.type);
  assert.match(error.data$.meta.requestId, /^req_/);
  return error;
}

async function typedErrors() {
  // Raw fetch makes a root key that may do nothing: SDK 2.5.1 has no rootKeys operations.
  const answer = await fetch(`${serverURL}/v2/rootKeys.createKey`, {
    method: "POST",
    headers: { authorization: `Bearer ${rootKey}`, "content-type": "application/json" },
    body: JSON.stringify({ permissions: [] }),
  });
  const powerless = new Unkey({ serverURL, rootKey: (await answer.json()).data.key });
  const stranger = new Unkey({ serverURL, rootKey: "keyrack_nobody" });
  const bad = await rejects(
    unkey.apis.createApi({ name: "x" }),
    errors.BadRequestErrorResponse, 400, "/unkey/application/invalid_input",
  );
  assert.equal(bad.data$.error.errors[0].location, "body.name");
  await rejects(
    stranger.apis.createApi({ name: "payments" }),
    errors.UnauthorizedErrorResponse, 401, "/unkey/authentication/key_not_found",
  );
  await rejects(
    powerless.apis.createApi({ name: "payments" }),
    errors.ForbiddenErrorResponse, 403, "/unkey/authorization/insufficient_permissions",
  );
  await rejects(
    unkey.apis.getApi({ apiId: "api_unknown1" }),
    errors.NotFoundErrorResponse, 404, "/unkey/data/api_not_found",
  );
  await rejects(
    unkey.identities.createIdentity({ externalId: "customer_2" }),
    errors.ConflictErrorResponse, 409, "/unkey/data/identity_already_exists",
  );
}

await listAndDelete(await createVerifyReadUpdate());
await otherOperations();
await typedErrors();
