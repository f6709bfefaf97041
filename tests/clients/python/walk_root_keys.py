"""The steps about root keys and the workspace."""

import time

from step import Call, data, listed, matches, members, same, step
from unkey.py import Unkey, errors


@step("rootKeys.createKey")
def _(known):
    expires = int(time.time() * 1000) + 86_400_000
    permissions = ["api.*.create_api", "api.*.read_api"]
    created = yield from data("root_keys.create_key", name="ci", permissions=permissions, expires=expires)
    matches(created["keyId"], "key_")
    matches(created["key"], "keyrack_[1-9A-HJ-NP-Za-km-z]{38}$")
    known.root = {"keyId": created["keyId"], "name": "ci", "permissions": permissions, "expires": expires}
    known.root_key = created["key"]
    yield Call("apis.create_api", {"name": "by ci"}, client_of(known, created["key"]))


@step("rootKeys.listKeys")
def _(known):
    keys = yield from listed("root_keys.list_keys", 1)
    [found] = [key for key in keys if key["keyId"] == known.root["keyId"]]
    same({name: found[name] for name in known.root}, known.root)
    same(members(found, "enabled", "start", "end"), [True, known.root_key[:12], known.root_key[-4:]])
    assert len(keys) > 1 and keys == sorted(keys, key=lambda key: key["keyId"]), keys


@step("rootKeys.updateKey")
def _(known):
    change = {"name": None, "permissions": ["api.*.read_api"]}
    same((yield from data("root_keys.update_key", key_id=known.root["keyId"], **change)), {})
    keys = yield from listed("root_keys.list_keys", 100)
    [found] = [key for key in keys if key["keyId"] == known.root["keyId"]]
    same(members(found, "name", "permissions"), [None, ["api.*.read_api"]])
    yield from refused(known, known.root_key, errors.ForbiddenErrorResponse)


@step("rootKeys.rerollKey")
def _(known):
    rerolled = yield from data("root_keys.reroll_key", key_id=known.root["keyId"], expiration=0)
    matches(rerolled["key"], "keyrack_")
    assert rerolled["keyId"] != known.root["keyId"]
    yield Call("apis.get_api", {"api_id": known.api_id}, client_of(known, rerolled["key"]))
    yield from refused(known, known.root_key, errors.ForbiddenErrorResponse)
    known.root_key, known.root["keyId"] = rerolled["key"], rerolled["keyId"]


@step("rootKeys.deleteKey")
def _(known):
    same((yield from data("root_keys.delete_key", key_id=known.root["keyId"])), {})
    yield from refused(known, known.root_key, errors.UnauthorizedErrorResponse)


@step("workspace.getLimits")
def _(_known):
    unlimited = {"limit": None}
    same(
        (yield from data("workspace.get_limits")),
        {
            "apiBillableOperationsCountMaxPerMonth": unlimited,
            "apiRequestsCountMaxPerMinute": unlimited,
            "logsRetentionDaysMax": unlimited,
            "logsAuditRetentionDaysMax": unlimited,
            "logdrainsMax": {"limit": 0, "current": 0},
        },
    )


@step("workspace.getUsage")
def _(_known):
    usage = yield from data("workspace.get_usage")
    # The walk verified keys and checked limits before; how many of each is its own business.
    assert usage["totals"]["api"]["verifications"] > 0, usage
    assert usage["totals"]["api"]["ratelimits"] > 0, usage
    same(usage["breakdowns"], {"byEnvironment": [], "byApp": []})


@step("analytics.getVerifications")
def _(_known):
    query = "SELECT outcome, SUM(count) AS n FROM key_verifications_per_day_v1 GROUP BY outcome"
    rows = yield from data("analytics.get_verifications", query=query)
    counts = {row["outcome"]: row["n"] for row in rows}
    assert counts["VALID"] > 0 and "NOT_FOUND" not in counts, counts


@step("analytics.getRatelimits")
def _(_known):
    query = "SELECT namespace, SUM(total) AS n FROM ratelimits_per_hour_v1 WHERE namespace = 'email' GROUP BY namespace"
    rows = yield from data("analytics.get_ratelimits", query=query)
    assert len(rows) == 1 and rows[0]["n"] > 2, rows


def client_of(known, root_key: str) -> Unkey:
    """A client with another root key."""
    return Unkey(server_url=known.server_url, root_key=root_key)


def refused(known, root_key: str, error: type[Exception]):
    """Fails unless creating an API with this root key is refused like this."""
    try:
        answer = yield Call("apis.create_api", {"name": "never made"}, client_of(known, root_key))
    except error:
        return
    raise AssertionError(f"accepted: {answer}")
