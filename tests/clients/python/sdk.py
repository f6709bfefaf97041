"""The official Python SDK, pointed at Keyrack by its server_url option and nothing else, with its own validation of
every answer: each operation that it knows is a step of the walk or listed in not_in_keyrack.json.

    python sdk.py sync|async

Environment: KEYRACK_TEST_URL, KEYRACK_TEST_ROOT_KEY, KEYRACK_TEST_MIGRATION.
"""

import asyncio
import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generator

# In the order of the walk: each declares its steps.
import walk  # noqa: F401
import walk_ratelimits  # noqa: F401
import walk_root_keys  # noqa: F401
import walk_deletions  # noqa: F401
from failures import FAILURES
from server import MIGRATION_ID, ROOT_KEY, SERVER_URL, described, operator, path_of, post
from step import STEPS, Call, NextPage
from unkey.py import Unkey


def methods_of_the_sdk(unkey: Unkey) -> dict[str, str]:
    """The operation behind each method, by method: `keys.create_key` → `keys.createKey`."""
    operations = {}
    for group in Unkey._sub_sdk_map:
        own = vars(type(getattr(unkey, group)))
        names = [name for name, member in own.items() if inspect.isfunction(member) and not name.startswith("_")]
        for name in names:
            [path] = set(re.findall(r'\bpath="([^"]+)"', inspect.getsource(own[name])))
            twin = name.removesuffix("_async") if name.endswith("_async") else f"{name}_async"
            assert twin in names, f"{group}.{name} has no twin"
            if not name.endswith("_async"):
                operations[f"{group}.{name}"] = path.removeprefix("/v2/")
    assert len(operations) >= 99, f"only {len(operations)} methods were found"
    return operations


def every_method_is_accounted_for(operations: dict[str, str]) -> None:
    """Every method has a step or is absent with a reason; what is absent is still absent."""
    reasons = json.loads((Path(__file__).parent.parent / "not_in_keyrack.json").read_text())
    absent = [operation for listed in reasons.values() for operation in listed]
    known = set(operations.values())
    unaccounted = known - STEPS.keys() - set(absent)
    assert not unaccounted, f"the SDK knows operations that are neither walked nor listed as absent: {unaccounted}"
    assert STEPS.keys() <= known, f"steps without a method: {STEPS.keys() - known}"
    paths = described()
    for operation in absent:
        assert operation in known, f"{operation} is listed as absent, but the SDK does not know it"
        assert path_of(operation) not in paths, f"{operation} exists now: walk it, and take it off the list"
        status, answer = post(operation, {})
        assert status == 404 and answer["error"]["type"].endswith("route_not_found"), f"{operation}: {answer}"


class Client:
    """Carries out what steps ask for, and remembers which operations were called."""

    def __init__(self) -> None:
        self.unkey = Unkey(server_url=SERVER_URL, root_key=ROOT_KEY)
        self.operations = methods_of_the_sdk(self.unkey)
        self.called: set[str] = set()

    def bound(self, call: Call, suffix: str) -> Any:
        """The method of a call, with its arguments still to come."""
        self.called.add(self.operations[call.method])
        group, name = call.method.split(".")
        return getattr(getattr(call.client or self.unkey, group), name + suffix)

    async def run(self, steps: Generator, carry_out: Any) -> None:
        """Runs a step to its end."""
        send, value = steps.send, None
        while True:
            try:
                wanted = send(value)
            except StopIteration:
                return
            try:
                send, value = steps.send, await carry_out(wanted)
            except Exception as error:  # the step decides which errors it expects
                send, value = steps.throw, error

    async def in_turn(self, wanted: Call | NextPage) -> Any:
        """The synchronous client."""
        if isinstance(wanted, NextPage):
            return wanted.page.next()
        return self.bound(wanted, "")(**wanted.arguments)

    async def awaited(self, wanted: Call | NextPage) -> Any:
        """The asynchronous client."""
        if isinstance(wanted, Call):
            return await self.bound(wanted, "_async")(**wanted.arguments)
        # `next()` of 3.2.2 is synchronous even here, so the cursor is sent by hand.
        cursor = wanted.page.result.pagination.cursor
        return cursor and await self.bound(wanted.listing, "_async")(**wanted.listing.arguments, cursor=cursor)


async def main(manner: str) -> None:
    client = Client()
    carry_out = {"sync": client.in_turn, "async": client.awaited}[manner]
    every_method_is_accounted_for(client.operations)
    known = SimpleNamespace(operator=operator, server_url=SERVER_URL, migration_id=MIGRATION_ID)
    for name, step in [*STEPS.items(), *FAILURES.items()]:
        client.called.clear()
        try:
            await client.run(step(known), carry_out)
        except BaseException:
            print(f"failed at: {name}", file=sys.stderr)
            raise
        assert name in FAILURES or name in client.called, f"the step {name} does not call it"
    print(f"{len(STEPS)} operations, {len(FAILURES)} failures")


asyncio.run(main(sys.argv[1]))
