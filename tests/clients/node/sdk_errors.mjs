// Each failure that the SDK has a class for arrives as that class, with status, code and request id.
import assert from "node:assert/strict";
import { Unkey } from "@unkey/api";
import * as errors from "@unkey/api/models/errors";

/** The error of a call that must fail as this class with this status and this end of `error.type`. */
async function rejects(call, type, status, code) {
  const error = await call.then(
    () => assert.fail(`expected ${type.name}`),
    (reason) => reason,
  );
  assert.ok(error instanceof type, `${error.constructor.name} instead of ${type.name}: ${error.message}`);
  assert.equal(error.statusCode, status);
  assert.equal(error.data$.error.status, status);
  assert.ok(error.data$.error.type.endsWith(code), error.data$.error.type);
  assert.match(error.data$.meta.requestId, /^req_/);
  return error;
}

export const failures = {
  "400 BadRequestErrorResponse": async ({ unkey }) => {
    const call = unkey.apis.createApi({ name: "x" });
    const error = await rejects(call, errors.BadRequestErrorResponse, 400, "/unkey/application/invalid_input");
    const [fault] = error.data$.error.errors;
    assert.equal(fault.location, "body.name");
    assert.match(fault.message, /3/);
  },
  "401 UnauthorizedErrorResponse": async ({ serverURL }) => {
    const stranger = new Unkey({ serverURL, rootKey: "keyrack_nobody" });
    const call = stranger.apis.createApi({ name: "payments" });
    await rejects(call, errors.UnauthorizedErrorResponse, 401, "/unkey/authentication/key_not_found");
  },
  "403 ForbiddenErrorResponse": async ({ serverURL, operator }) => {
    const { key } = await operator("rootKeys.createKey", { permissions: [] });
    const call = new Unkey({ serverURL, rootKey: key }).apis.createApi({ name: "payments" });
    const code = "/unkey/authorization/insufficient_permissions";
    const error = await rejects(call, errors.ForbiddenErrorResponse, 403, code);
    assert.match(error.data$.error.detail, /api\.\*\.create_api/);
  },
  "404 NotFoundErrorResponse": async ({ unkey }) => {
    const call = unkey.apis.getApi({ apiId: "api_unknown1" });
    await rejects(call, errors.NotFoundErrorResponse, 404, "/unkey/data/api_not_found");
  },
  "409 ConflictErrorResponse": async ({ unkey }) => {
    await unkey.identities.createIdentity({ externalId: "twice" });
    const call = unkey.identities.createIdentity({ externalId: "twice" });
    await rejects(call, errors.ConflictErrorResponse, 409, "/unkey/data/identity_already_exists");
  },
  "410 GoneErrorResponse": async ({ unkey, operator }) => {
    const check = { namespace: "gone", identifier: "ada", limit: 1, duration: 60_000 };
    await unkey.ratelimit.limit(check);
    await operator("ratelimit.deleteNamespace", { namespace: "gone" });
    const code = "/unkey/data/ratelimit_namespace_gone";
    await rejects(unkey.ratelimit.limit(check), errors.GoneErrorResponse, 410, code);
    await rejects(unkey.ratelimit.multiLimit([check]), errors.GoneErrorResponse, 410, code);
  },
  "412 PreconditionFailedErrorResponse": async ({ unkey, operator }) => {
    const { apiId } = (await unkey.apis.createApi({ name: "protected" })).data;
    await operator("apis.updateApi", { apiId, deleteProtection: true });
    const call = unkey.apis.deleteApi({ apiId });
    await rejects(call, errors.PreconditionFailedErrorResponse, 412, "/unkey/application/protected_resource");
    assert.equal((await unkey.apis.getApi({ apiId })).data.id, apiId, "it is still there");
  },
  "429 TooManyRequestsErrorResponse": async ({ serverURL, operator }) => {
    const { workspaceId, rootKey } = await operator("workspace.createWorkspace", { name: "Busy" });
    await operator("workspace.updateWorkspace", { workspaceId, requestsPerMinute: 0 });
    const call = new Unkey({ serverURL, rootKey }).apis.createApi({ name: "payments" });
    await rejects(call, errors.TooManyRequestsErrorResponse, 429, "/user/too_many_requests/workspace_rate_limited");
  },
};
