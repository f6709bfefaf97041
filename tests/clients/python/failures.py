"""Each failure that the SDK has a class for arrives as that class, with status, code and request id."""

from step import Call, data, matches, same
from unkey.py import Unkey, errors


def fails(error: type[errors.UnkeyError], status: int, code: str, method: str, client: Unkey | None = None, **arguments):
    """The error of a call that must fail as this class with this status and this end of `error.type`."""
    try:
        answer = yield Call(method, arguments, client)
    except errors.UnkeyError as fault:
        assert type(fault) is error, f"{type(fault).__name__} instead of {error.__name__}: {fault.body}"
        same([fault.status_code, fault.data.error.status], [status, status])
        assert fault.data.error.type.endswith(code), fault.data.error.type
        matches(fault.data.meta.request_id, "req_")
        return fault.data.error
    raise AssertionError(f"{method} is accepted: {answer}")


def bad_request(_known):
    error, code = errors.BadRequestErrorResponse, "/unkey/application/invalid_input"
    told = yield from fails(error, 400, code, "apis.create_api", name="x")
    same(told.errors[0].location, "body.name")


def unauthorized(known):
    stranger = Unkey(server_url=known.server_url, root_key="keyrack_nobody")
    error, code = errors.UnauthorizedErrorResponse, "/unkey/authentication/key_not_found"
    yield from fails(error, 401, code, "apis.create_api", stranger, name="payments")


def forbidden(known):
    powerless = yield from data("root_keys.create_key", permissions=[])
    client = Unkey(server_url=known.server_url, root_key=powerless["key"])
    error, code = errors.ForbiddenErrorResponse, "/unkey/authorization/insufficient_permissions"
    told = yield from fails(error, 403, code, "apis.create_api", client, name="payments")
    assert "api.*.create_api" in told.detail, told


def not_found(_known):
    error, code = errors.NotFoundErrorResponse, "/unkey/data/api_not_found"
    yield from fails(error, 404, code, "apis.get_api", api_id="api_unknown1")


def conflict(_known):
    yield from data("identities.create_identity", external_id="twice")
    error, code = errors.ConflictErrorResponse, "/unkey/data/identity_already_exists"
    yield from fails(error, 409, code, "identities.create_identity", external_id="twice")


def gone(known):
    check = {"namespace": "gone", "identifier": "ada", "limit": 1, "duration": 60_000}
    yield from data("ratelimit.limit", **check)
    known.operator("ratelimit.deleteNamespace", {"namespace": "gone"})
    error, code = errors.GoneErrorResponse, "/unkey/data/ratelimit_namespace_gone"
    yield from fails(error, 410, code, "ratelimit.limit", **check)
    yield from fails(error, 410, code, "ratelimit.multi_limit", request=[check])


def precondition_failed(known):
    api = yield from data("apis.create_api", name="protected")
    known.operator("apis.updateApi", {"apiId": api["apiId"], "deleteProtection": True})
    error, code = errors.PreconditionFailedErrorResponse, "/unkey/application/protected_resource"
    yield from fails(error, 412, code, "apis.delete_api", api_id=api["apiId"])
    same((yield from data("apis.get_api", api_id=api["apiId"]))["name"], "protected")


def too_many_requests(known):
    made = known.operator("workspace.createWorkspace", {"name": "Busy"})
    known.operator("workspace.updateWorkspace", {"workspaceId": made["workspaceId"], "requestsPerMinute": 0})
    busy = Unkey(server_url=known.server_url, root_key=made["rootKey"])
    error, code = errors.TooManyRequestsErrorResponse, "/user/too_many_requests/workspace_rate_limited"
    yield from fails(error, 429, code, "apis.create_api", busy, name="payments")


FAILURES = {
    "400 BadRequestErrorResponse": bad_request,
    "401 UnauthorizedErrorResponse": unauthorized,
    "403 ForbiddenErrorResponse": forbidden,
    "404 NotFoundErrorResponse": not_found,
    "409 ConflictErrorResponse": conflict,
    "410 GoneErrorResponse": gone,
    "412 PreconditionFailedErrorResponse": precondition_failed,
    "429 TooManyRequestsErrorResponse": too_many_requests,
}
