"""The server under test, without an SDK."""

import json
import os
import urllib.error
import urllib.request
from typing import Any

SERVER_URL = os.environ["KEYRACK_TEST_URL"]
ROOT_KEY = os.environ["KEYRACK_TEST_ROOT_KEY"]
MIGRATION_ID = os.environ["KEYRACK_TEST_MIGRATION"]


def path_of(operation: str) -> str:
    """Operations are named as on the wire, `keys.createKey`; one below another version is its whole path."""
    return operation if operation.startswith("/") else f"/v2/{operation}"


def post(operation: str, body: Any, root_key: str | None = None) -> tuple[int, Any]:
    """Status and body of an operation's answer."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {root_key}"} if root_key else {})
    request = urllib.request.Request(SERVER_URL + path_of(operation), json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def operator(operation: str, body: Any) -> Any:
    """`data` of an operation that must succeed."""
    status, answer = post(operation, body, ROOT_KEY)
    assert status == 200, f"{operation}: {answer}"
    return answer["data"]


def described() -> dict[str, Any]:
    """The paths of the server's own description."""
    with urllib.request.urlopen(f"{SERVER_URL}/openapi.json") as answer:
        return json.load(answer)["paths"]
