"""What a walk is made of.

A step is a generator named after its operation. It yields a `Call` and is sent the answer, or has the error thrown
into it; so one description serves the synchronous and the asynchronous client alike.
"""

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Callable, Generator

from unkey.py import Unkey

# The longest window there is (30 days), so that no run straddles two of them.
WINDOW = 2_592_000_000

# In the order of their declaration, by operation.
STEPS: dict[str, Callable[[SimpleNamespace], Generator]] = {}


@dataclass
class Call:
    """A method of the SDK, such as `keys.create_key`, and its arguments."""

    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    # Whom to call as; the client with the root key of the walk unless another is given.
    client: Unkey | None = None


@dataclass
class NextPage:
    """Asks for the page after this one of a listing."""

    page: Any
    listing: Call


def step(operation: str):
    """Declares the step of an operation, named as on the wire."""

    def declare(function):
        assert operation not in STEPS, operation
        STEPS[operation] = function
        return function

    return declare


def call(method: str, **arguments):
    """Calls a method: `answer = yield from call("keys.get_key", key_id=…)`."""
    return (yield Call(method, arguments))


def plain(model: Any) -> Any:
    """What an answer of the SDK stands for, named as on the wire."""
    if isinstance(model, list):
        return [plain(one) for one in model]
    # Rows of analytics have no class.
    return model if isinstance(model, dict) else model.model_dump(mode="json", by_alias=True)


def data(method: str, **arguments):
    """Calls a method and returns `data` of its answer."""
    answer = yield Call(method, arguments)
    assert answer.meta.request_id.startswith("req_"), answer.meta
    return plain(answer.data)


def listed(method: str, page_size: int, **arguments):
    """Every item of a listing, walked in pages of this many."""
    items = []
    listing = Call(method, {"limit": page_size, **arguments})
    page = yield listing
    while page is not None:
        assert len(page.result.data) <= page_size, page
        assert page.result.pagination.has_more == (page.result.pagination.cursor is not None), page
        items += plain(page.result.data)
        page = yield NextPage(page, listing)
    return items


def same(got: Any, wanted: Any) -> None:
    """Fails with both values unless they are equal."""
    assert got == wanted, f"\n   got {got!r}\nwanted {wanted!r}"


def matches(text: str, pattern: str) -> None:
    """Fails unless the text begins like the pattern."""
    assert re.match(pattern, text), f"{text!r} does not match {pattern!r}"


def members(item: dict, *names: str) -> list:
    """These members of an item; None where there is none."""
    return [item.get(name) for name in names]


def by_id(*items: dict) -> list[dict]:
    """Listings are in the order of ids."""
    return sorted(items, key=lambda item: item["id"])
