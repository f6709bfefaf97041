"""The steps about rate limits without keys."""

import time

from step import WINDOW, data, listed, matches, members, same, step


@step("ratelimit.limit")
def _(_known):
    seen = []
    for cost in (1, 2, 1):
        told = yield from data(
            "ratelimit.limit", namespace="email", identifier="ada", limit=3, duration=WINDOW, cost=cost
        )
        assert told["reset"] > time.time() * 1000 and told["limit"] == 3, told
        seen.append(members(told, "success", "remaining"))
    same(seen, [[True, 2], [True, 0], [False, 0]])


@step("ratelimit.multiLimit")
def _(_known):
    checks = [
        {"namespace": namespace, "identifier": "ada", "limit": 3, "duration": WINDOW}
        for namespace in ("email", "sms")
    ]
    told = yield from data("ratelimit.multi_limit", request=checks)
    same(told["passed"], False)
    seen = [members(one, "namespace", "identifier", "limit", "remaining", "passed") for one in told["limits"]]
    same(seen, [["email", "ada", 3, 0, False], ["sms", "ada", 3, 3, True]])
    same((yield from data("ratelimit.multi_limit", request=checks[1:]))["passed"], True)


@step("ratelimit.setOverride")
def _(known):
    override = {"identifier": "ada", "limit": 50, "duration": WINDOW}
    created = yield from data("ratelimit.set_override", namespace="email", **override)
    matches(created["overrideId"], "rlor_")
    known.override = override | {"overrideId": created["overrideId"]}
    told = yield from data("ratelimit.limit", namespace="email", **override | {"limit": 3})
    same(members(told, "success", "limit", "overrideId"), [True, 50, created["overrideId"]])


@step("ratelimit.getOverride")
def _(known):
    same((yield from data("ratelimit.get_override", namespace="email", identifier="ada")), known.override)


@step("ratelimit.listOverrides")
def _(known):
    pattern = {"namespace": "email", "identifier": "*@example.com", "limit": 0, "duration": 60_000}
    yield from data("ratelimit.set_override", **pattern)
    overrides = yield from listed("ratelimit.list_overrides", 1, namespace="email")
    same(sorted(one["identifier"] for one in overrides), ["*@example.com", "ada"])
    assert known.override in overrides, overrides


@step("ratelimit.deleteOverride")
def _(_known):
    yield from data("ratelimit.delete_override", namespace="email", identifier="ada")
    left = yield from listed("ratelimit.list_overrides", 100, namespace="email")
    same([one["identifier"] for one in left], ["*@example.com"])
