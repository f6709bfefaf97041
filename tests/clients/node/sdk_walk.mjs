// A walk through every operation that both the SDK and Keyrack have, one step each, in this order; later steps use
// what earlier ones left in `known`. A step is named after the operation that it is about.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

// The longest window there is (30 days), so that no run straddles two of them.
const window = 2_592_000_000;
const soon = () => Date.now() + 86_400_000;
const refill = { interval: "monthly", amount: 10, refillDay: 31 };

/** Every item of a listing, walked in pages of this many. */
async function walked(listing, pageSize) {
  const items = [];
  for await (const { result } of await listing) {
    assert.ok(result.data.length <= pageSize, `a page of ${result.data.length}`);
    assert.equal(result.pagination.hasMore, result.pagination.cursor !== undefined);
    items.push(...result.data);
  }
  return items;
}

const slugs = (permissions) => permissions.map((permission) => permission.slug);
const names = (roles) => roles.map((role) => role.name);

const apis = {
  "apis.createApi": async ({ unkey, known, operator }) => {
    const { meta, data } = await unkey.apis.createApi({ name: "payments" });
    assert.match(meta.requestId, /^req_/);
    assert.match(data.apiId, /^api_/);
    known.apiId = data.apiId;
    await operator("apis.updateApi", { apiId: known.apiId, storeEncryptedKeys: true });
  },
  "apis.getApi": async ({ unkey, known }) => {
    const { data } = await unkey.apis.getApi({ apiId: known.apiId });
    assert.deepEqual(data, { id: known.apiId, name: "payments" });
  },
};

const permissions = {
  "permissions.createPermission": async ({ unkey, known }) => {
    const read = await unkey.permissions.createPermission({ name: "Read", slug: "docs.read", description: "Reading" });
    assert.match(read.data.permissionId, /^perm_/);
    const write = await unkey.permissions.createPermission({ name: "Write", slug: "docs.write" });
    known.read = { id: read.data.permissionId, name: "Read", slug: "docs.read", description: "Reading" };
    known.write = { id: write.data.permissionId, name: "Write", slug: "docs.write" };
  },
  "permissions.getPermission": async ({ unkey, known }) => {
    for (const permission of [known.read.id, known.read.slug]) {
      assert.deepEqual((await unkey.permissions.getPermission({ permission })).data, known.read);
    }
  },
  "permissions.listPermissions": async ({ unkey, known }) => {
    const listed = await walked(unkey.permissions.listPermissions({ limit: 1 }), 1);
    assert.deepEqual(listed, [known.read, known.write].sort((one, two) => (one.id < two.id ? -1 : 1)));
  },
  "permissions.createRole": async ({ unkey, known }) => {
    const reader = await unkey.permissions.createRole({ name: "reader", description: "Reads", permissions: ["docs.read"] });
    assert.match(reader.data.roleId, /^role_/);
    const writer = await unkey.permissions.createRole({ name: "writer" });
    known.reader = { id: reader.data.roleId, name: "reader", description: "Reads", permissions: [known.read] };
    known.writer = { id: writer.data.roleId, name: "writer" };
  },
  "permissions.getRole": async ({ unkey, known }) => {
    for (const role of [known.reader.id, known.reader.name]) {
      assert.deepEqual((await unkey.permissions.getRole({ role })).data, known.reader);
    }
  },
  "permissions.setRolePermissions": async ({ unkey, known }) => {
    const { data } = await unkey.permissions.setRolePermissions({ roleId: known.writer.id, permissions: ["docs.write"] });
    assert.deepEqual(data, [known.write]);
    known.writer.permissions = [known.write];
  },
  "permissions.listRoles": async ({ unkey, known }) => {
    const listed = await walked(unkey.permissions.listRoles({ limit: 1 }), 1);
    assert.deepEqual(listed, [known.reader, known.writer].sort((one, two) => (one.id < two.id ? -1 : 1)));
  },
};

const identities = {
  "identities.createIdentity": async ({ unkey, known }) => {
    const ratelimits = [{ name: "shared", limit: 100, duration: window, autoApply: false }];
    const { data } = await unkey.identities.createIdentity({ externalId: "ada", meta: { plan: "free" }, ratelimits });
    assert.match(data.identityId, /^id_/);
    known.identityId = data.identityId;
  },
  "identities.getIdentity": async ({ unkey, known }) => {
    const { data } = await unkey.identities.getIdentity({ identity: "ada" });
    const [limit] = data.ratelimits;
    assert.match(limit.id, /^rl_/);
    assert.deepEqual(data, {
      id: known.identityId,
      externalId: "ada",
      meta: { plan: "free" },
      ratelimits: [{ id: limit.id, name: "shared", limit: 100, duration: window, autoApply: false }],
    });
    known.identity = data;
  },
  "identities.updateIdentity": async ({ unkey, known }) => {
    const { data } = await unkey.identities.updateIdentity({ identity: known.identityId, meta: { plan: "pro" } });
    known.identity.meta = { plan: "pro" };
    assert.deepEqual(data, known.identity);
  },
  "identities.listIdentities": async ({ unkey, known }) => {
    const grace = (await unkey.identities.createIdentity({ externalId: "grace" })).data.identityId;
    const listed = await walked(unkey.identities.listIdentities({ limit: 1 }), 1);
    assert.deepEqual(listed.map((one) => one.id), [known.identityId, grace].sort());
    const found = await walked(unkey.identities.listIdentities({ search: "ADA" }), 100);
    assert.deepEqual(found, [known.identity]);
  },
};

const keys = {
  "keys.createKey": async ({ unkey, known }) => {
    const { data } = await unkey.keys.createKey({
      apiId: known.apiId,
      prefix: "acme",
      name: "Mobile",
      byteLength: 24,
      externalId: "ada",
      meta: { plan: "pro", seats: 3, nested: { list: [1, "two", null] } },
      roles: ["reader"],
      permissions: ["docs.list"],
      expires: (known.expires = soon()),
      credits: { remaining: 10, refill },
      ratelimits: [{ name: "calls", limit: 5, duration: window, autoApply: true }],
      recoverable: true,
    });
    assert.match(data.keyId, /^key_/);
    assert.match(data.key, /^acme_/);
    Object.assign(known, data);
  },
  "keys.getKey": async ({ unkey, known }) => {
    const { data } = await unkey.keys.getKey({ keyId: known.keyId, decrypt: true });
    const { createdAt, ratelimits, ...rest } = data;
    assert.ok(Math.abs(createdAt - Date.now()) < 60_000, `created at ${createdAt}`);
    assert.match(ratelimits[0].id, /^rl_/);
    assert.deepEqual(ratelimits, [
      { id: ratelimits[0].id, name: "calls", limit: 5, duration: window, autoApply: true },
    ]);
    assert.deepEqual(rest, {
      keyId: known.keyId,
      start: known.key.slice(0, "acme_".length + 4),
      enabled: true,
      name: "Mobile",
      meta: { plan: "pro", seats: 3, nested: { list: [1, "two", null] } },
      expires: known.expires,
      credits: { remaining: 10, refill },
      identity: known.identity,
      permissions: ["docs.list", "docs.read"],
      roles: ["reader"],
      plaintext: known.key,
    });
    assert.equal((await unkey.keys.getKey({ keyId: known.keyId })).data.plaintext, undefined);
  },
  "keys.whoami": async ({ unkey, known }) => {
    const { data } = await unkey.keys.whoami({ key: known.key });
    assert.deepEqual([data.keyId, data.name, data.credits.remaining], [known.keyId, "Mobile", 10]);
  },
  "keys.verifyKey": async ({ unkey, known }) => {
    const asked = {
      key: known.key,
      permissions: "docs.read AND docs.list",
      credits: { cost: 3 },
      ratelimits: [{ name: "shared", cost: 2 }],
      tags: ["path=/"],
    };
    const { data } = await unkey.keys.verifyKey(asked);
    assert.deepEqual([data.valid, data.code, data.keyId, data.credits], [true, "VALID", known.keyId, 7]);
    assert.deepEqual([data.name, data.enabled, data.expires], ["Mobile", true, known.expires]);
    assert.deepEqual([data.permissions, data.roles], [["docs.list", "docs.read"], ["reader"]]);
    assert.equal(data.identity.externalId, "ada");
    const limits = data.ratelimits.map((limit) => [limit.name, limit.remaining, limit.exceeded, limit.autoApply]);
    assert.deepEqual(limits, [["calls", 4, false, true], ["shared", 98, false, false]]);
    assert.ok(data.ratelimits.every((limit) => limit.reset > Date.now()));
    const refused = (await unkey.keys.verifyKey({ ...asked, permissions: "docs.delete" })).data;
    assert.deepEqual([refused.valid, refused.code, refused.credits], [false, "INSUFFICIENT_PERMISSIONS", 7]);
    const dear = (await unkey.keys.verifyKey({ key: known.key, credits: { cost: 8 } })).data;
    assert.deepEqual([dear.valid, dear.code, dear.credits], [false, "USAGE_EXCEEDED", 7]);
    const many = (await unkey.keys.verifyKey({ key: known.key, ratelimits: [{ name: "calls", cost: 9 }] })).data;
    assert.deepEqual([many.valid, many.code], [false, "RATE_LIMITED"]);
    const unknown = (await unkey.keys.verifyKey({ key: "acme_nobody" })).data;
    assert.deepEqual(unknown, { valid: false, code: "NOT_FOUND" });
  },
};

const links = {
  "keys.addPermissions": async ({ unkey, known }) => {
    const { data } = await unkey.keys.addPermissions({ keyId: known.keyId, permissions: ["docs.write", "docs.new"] });
    assert.deepEqual(slugs(data), ["docs.list", "docs.new", "docs.write"]);
    assert.deepEqual(data.find((one) => one.slug === "docs.write"), known.write);
  },
  "keys.removePermissions": async ({ unkey, known }) => {
    const { data } = await unkey.keys.removePermissions({ keyId: known.keyId, permissions: ["docs.new"] });
    assert.deepEqual(slugs(data), ["docs.list", "docs.write"]);
  },
  "keys.setPermissions": async ({ unkey, known }) => {
    const { data } = await unkey.keys.setPermissions({ keyId: known.keyId, permissions: ["docs.write"] });
    assert.deepEqual(data, [known.write]);
    assert.deepEqual((await unkey.keys.setPermissions({ keyId: known.keyId, permissions: [] })).data, []);
  },
  "keys.addRoles": async ({ unkey, known }) => {
    const { data } = await unkey.keys.addRoles({ keyId: known.keyId, roles: ["writer"] });
    assert.deepEqual(data, [known.reader, known.writer]);
  },
  "keys.removeRoles": async ({ unkey, known }) => {
    const { data } = await unkey.keys.removeRoles({ keyId: known.keyId, roles: ["reader"] });
    assert.deepEqual(names(data), ["writer"]);
  },
  "keys.setRoles": async ({ unkey, known }) => {
    const { data } = await unkey.keys.setRoles({ keyId: known.keyId, roles: ["reader", "writer"] });
    assert.deepEqual(names(data), ["reader", "writer"]);
    const verified = (await unkey.keys.verifyKey({ key: known.key, credits: { cost: 0 } })).data;
    assert.deepEqual(verified.permissions, ["docs.read", "docs.write"]);
  },
};

const changes = {
  "keys.updateCredits": async ({ unkey, known }) => {
    const change = async (operation, value) =>
      (await unkey.keys.updateCredits({ keyId: known.keyId, operation, value })).data;
    assert.deepEqual(await change("set", 20), { remaining: 20, refill });
    assert.deepEqual(await change("increment", 5), { remaining: 25, refill });
    assert.deepEqual(await change("decrement", 100), { remaining: 0, refill });
    assert.deepEqual(await change("set", null), { remaining: null });
  },
  "keys.updateKey": async ({ unkey, known }) => {
    const { keyId } = known;
    const { data } = await unkey.keys.updateKey({ keyId, name: "Desktop", meta: null, expires: null, enabled: false });
    assert.deepEqual(data, {});
    const read = (await unkey.keys.getKey({ keyId })).data;
    assert.deepEqual([read.name, read.meta, read.expires, read.enabled], ["Desktop", undefined, undefined, false]);
    assert.ok(read.updatedAt >= read.createdAt);
    assert.equal((await unkey.keys.verifyKey({ key: known.key })).data.code, "DISABLED");
    await unkey.keys.updateKey({ keyId, enabled: true, externalId: null, ratelimits: [], credits: { remaining: 4 } });
    const verified = (await unkey.keys.verifyKey({ key: known.key })).data;
    assert.deepEqual([verified.code, verified.credits, verified.identity], ["VALID", 3, undefined]);
    assert.equal(verified.ratelimits, undefined);
  },
  "keys.rerollKey": async ({ unkey, known }) => {
    const { data } = await unkey.keys.rerollKey({ keyId: known.keyId, expiration: 0 });
    assert.match(data.key, /^acme_/);
    assert.notEqual(data.keyId, known.keyId);
    assert.equal((await unkey.keys.verifyKey({ key: known.key })).data.code, "EXPIRED");
    const verified = (await unkey.keys.verifyKey({ key: data.key })).data;
    assert.deepEqual([verified.code, verified.name, verified.credits], ["VALID", "Desktop", 2]);
    known.rerolled = data;
  },
  "apis.listKeys": async ({ unkey, known }) => {
    const { apiId } = known;
    const made = [known.keyId, known.rerolled.keyId];
    for (let n = 0; n < 3; n += 1) made.push((await unkey.keys.createKey({ apiId, externalId: "grace" })).data.keyId);
    const listed = await walked(unkey.apis.listKeys({ apiId, limit: 2, decrypt: true }), 2);
    assert.deepEqual(listed.map((one) => one.keyId), made.sort());
    const rerolled = listed.find((one) => one.keyId === known.rerolled.keyId);
    assert.deepEqual([rerolled.plaintext, rerolled.name], [known.rerolled.key, "Desktop"]);
    assert.equal((await walked(unkey.apis.listKeys({ apiId, externalId: "grace" }), 100)).length, 3);
  },
  "keys.migrateKeys": async ({ unkey, known }) => {
    const key = "elsewhere_2Zqv7Zb1o4Wk";
    const hash = createHash("sha256").update(key).digest("base64");
    const migrationId = process.env.KEYRACK_TEST_MIGRATION;
    const moved = { hash, name: "Moved", roles: ["reader", "imported"], credits: { remaining: 2 } };
    const { data } = await unkey.keys.migrateKeys({ migrationId, apiId: known.apiId, keys: [moved, { hash }] });
    assert.deepEqual(data, { migrated: [{ hash, keyId: data.migrated[0].keyId }], failed: [hash] });
    const verified = (await unkey.keys.verifyKey({ key, migrationId })).data;
    assert.deepEqual([verified.code, verified.keyId, verified.credits], ["VALID", data.migrated[0].keyId, 1]);
    assert.deepEqual([verified.name, verified.roles], ["Moved", ["imported", "reader"]]);
  },
};

const ratelimits = {
  "ratelimit.limit": async ({ unkey }) => {
    const seen = [];
    for (const cost of [1, 2, 1]) {
      const asked = { namespace: "email", identifier: "ada", limit: 3, duration: window, cost };
      const { data } = await unkey.ratelimit.limit(asked);
      assert.ok(data.reset > Date.now() && data.limit === 3, JSON.stringify(data));
      seen.push([data.success, data.remaining]);
    }
    assert.deepEqual(seen, [[true, 2], [true, 0], [false, 0]]);
  },
  "ratelimit.multiLimit": async ({ unkey }) => {
    const checks = ["email", "sms"].map((namespace) => ({ namespace, identifier: "ada", limit: 3, duration: window }));
    const { data } = await unkey.ratelimit.multiLimit(checks);
    assert.equal(data.passed, false);
    const seen = data.limits.map((one) => [one.namespace, one.identifier, one.limit, one.remaining, one.passed]);
    assert.deepEqual(seen, [["email", "ada", 3, 0, false], ["sms", "ada", 3, 3, true]]);
    assert.equal((await unkey.ratelimit.multiLimit(checks.slice(1))).data.passed, true);
  },
  "ratelimit.setOverride": async ({ unkey, known }) => {
    const override = { namespace: "email", identifier: "ada", limit: 50, duration: window };
    const { data } = await unkey.ratelimit.setOverride(override);
    assert.match(data.overrideId, /^rlor_/);
    known.override = { overrideId: data.overrideId, identifier: "ada", limit: 50, duration: window };
    const { data: limited } = await unkey.ratelimit.limit({ ...override, limit: 3 });
    assert.deepEqual([limited.success, limited.limit, limited.overrideId], [true, 50, data.overrideId]);
  },
  "ratelimit.getOverride": async ({ unkey, known }) => {
    const { data } = await unkey.ratelimit.getOverride({ namespace: "email", identifier: "ada" });
    assert.deepEqual(data, known.override);
  },
  "ratelimit.listOverrides": async ({ unkey, known }) => {
    await unkey.ratelimit.setOverride({ namespace: "email", identifier: "*@example.com", limit: 0, duration: 60_000 });
    const listed = await walked(unkey.ratelimit.listOverrides({ namespace: "email", limit: 1 }), 1);
    assert.deepEqual(listed.map((one) => one.identifier).sort(), ["*@example.com", "ada"]);
    assert.deepEqual(listed.find((one) => one.identifier === "ada"), known.override);
  },
  "ratelimit.deleteOverride": async ({ unkey }) => {
    await unkey.ratelimit.deleteOverride({ namespace: "email", identifier: "ada" });
    const { result } = await unkey.ratelimit.listOverrides({ namespace: "email" });
    assert.deepEqual(result.data.map((one) => one.identifier), ["*@example.com"]);
  },
};

const analytics = {
  "analytics.getVerifications": async ({ unkey, known }) => {
    const query = `SELECT outcome, SUM(count) AS n FROM key_verifications_per_day_v1 WHERE key_id = '${known.keyId}' GROUP BY outcome`;
    const { data } = await unkey.analytics.getVerifications({ query });
    const counts = Object.fromEntries(data.map((row) => [row.outcome, row.n]));
    assert.ok(counts.VALID > 0 && counts.RATE_LIMITED === 1 && counts.INSUFFICIENT_PERMISSIONS === 1, JSON.stringify(counts));
  },
  "analytics.getRatelimits": async ({ unkey }) => {
    const query = "SELECT namespace, SUM(total) AS n FROM ratelimits_per_hour_v1 WHERE namespace = 'email' GROUP BY namespace";
    const { data } = await unkey.analytics.getRatelimits({ query });
    assert.ok(data.length === 1 && data[0].n > 2, JSON.stringify(data));
  },
};

const deletions = {
  "permissions.deleteRole": async ({ unkey, known }) => {
    assert.deepEqual((await unkey.permissions.deleteRole({ role: known.writer.id })).data, {});
    assert.deepEqual((await unkey.keys.getKey({ keyId: known.rerolled.keyId })).data.roles, ["reader"]);
  },
  "permissions.deletePermission": async ({ unkey, known }) => {
    assert.deepEqual((await unkey.permissions.deletePermission({ permission: "docs.read" })).data, {});
    assert.equal((await unkey.permissions.getRole({ role: "reader" })).data.permissions, undefined);
    assert.equal((await unkey.keys.verifyKey({ key: known.rerolled.key })).data.permissions, undefined);
  },
  "identities.deleteIdentity": async ({ unkey }) => {
    const { meta } = await unkey.identities.deleteIdentity({ identity: "ada" });
    assert.match(meta.requestId, /^req_/);
    assert.deepEqual(await walked(unkey.identities.listIdentities({ search: "ada" }), 100), []);
  },
  "keys.deleteKey": async ({ unkey, known }) => {
    assert.deepEqual((await unkey.keys.deleteKey({ keyId: known.rerolled.keyId, permanent: true })).data, {});
    assert.equal((await unkey.keys.verifyKey({ key: known.rerolled.key })).data.code, "NOT_FOUND");
  },
  "apis.deleteApi": async ({ unkey, known }) => {
    const { key } = (await unkey.keys.createKey({ apiId: known.apiId })).data;
    assert.deepEqual((await unkey.apis.deleteApi({ apiId: known.apiId })).data, {});
    assert.equal((await unkey.keys.verifyKey({ key })).data.code, "NOT_FOUND");
  },
};

export const steps = {
  ...apis,
  ...permissions,
  ...identities,
  ...keys,
  ...links,
  ...changes,
  ...ratelimits,
  ...analytics,
  ...deletions,
};
