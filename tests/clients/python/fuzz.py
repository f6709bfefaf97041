"""Fuzzes every operation of the server's own OpenAPI description with schemathesis for a bounded time: no 5xx, no
answer that its description does not allow, no hang; what the schema allows is accepted, what it forbids is refused.

Environment: as server.py, KEYRACK_TEST_FOLDER (a scratch folder); to look longer or elsewhere by hand,
KEYRACK_TEST_FUZZ_SECONDS and KEYRACK_TEST_FUZZ_SEED.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from server import MIGRATION_ID, SERVER_URL, operator

SCRATCH = Path(os.environ["KEYRACK_TEST_FOLDER"])
SECONDS = os.environ.get("KEYRACK_TEST_FUZZ_SECONDS", "40")
SEED = os.environ.get("KEYRACK_TEST_FUZZ_SEED", "1")
# Spare things of each kind.
SPARE = 40


def several(operation: str, bodies: list[dict], member: str) -> list[Any]:
    """This member of each answer."""
    return [operator(operation, body)[member] for body in bodies]


def things_that_exist() -> dict[str, list[str]]:
    """Makes some of everything; ids, names and secrets by dictionary."""
    apis = several("apis.createApi", [{"name": "payments"}] * 2, "apiId")
    for api in apis:
        operator("apis.updateApi", {"apiId": api, "storeEncryptedKeys": True})
    limits = [{"name": "calls", "limit": 1000, "duration": 60_000, "autoApply": True}]
    rich = {"recoverable": True, "externalId": "ada", "permissions": ["docs.read"], "ratelimits": limits}
    refill = {"interval": "monthly", "amount": 10, "refillDay": 31}
    limited = {"prefix": "acme", "credits": {"remaining": 1000, "refill": refill}}
    keys = [operator("keys.createKey", {"apiId": api} | kind) for api in apis for kind in ({}, rich, limited)]
    operator("permissions.createRole", {"name": "reader", "permissions": ["docs.read", "docs.write"]})
    check = {"limit": 1000, "duration": 60_000, "identifier": "ada"}
    for namespace in ("email", "sms"):
        operator("ratelimit.limit", check | {"namespace": namespace})
        operator("ratelimit.setOverride", check | {"namespace": namespace, "identifier": "*@example.com"})
    return {
        "apis": apis,
        "keys": [key["keyId"] for key in keys],
        "secrets": [key["key"] for key in keys],
        "identities": ["ada"],
        "permissions": ["docs.read", "docs.write"],
        "root_permissions": ["*", "api.*.read_api", "rbac.*.create_role"],
        "roles": ["reader"],
        "namespaces": ["email", "sms"],
        "identifiers": ["ada", "*@example.com", "eve@example.com"],
        "migrations": [MIGRATION_ID],
        "workspaces": [operator("workspace.createWorkspace", {"name": "Elsewhere"})["workspaceId"]],
        "logs": [entry["id"] for entry in operator("audit.listLogs", {"limit": 10})],
        "addresses": ["203.0.113.7", "10.0.0.0/8", "2001:db8::/32"],
    }


def things_to_delete() -> dict[str, list[str]]:
    """Makes what is deleted, renamed, closed or replaced."""
    numbers = range(SPARE)
    [api] = several("apis.createApi", [{"name": "spare"}], "apiId")
    for n in numbers:
        operator("ratelimit.limit", {"namespace": f"spare{n}", "identifier": "ada", "limit": 1, "duration": 1000})
    permissions = [{"name": "Spare", "slug": f"spare.{n}"} for n in numbers]
    roles = [{"name": f"spare {n}"} for n in numbers]
    return {
        "spare_apis": several("apis.createApi", [{"name": "spare"} for _ in numbers], "apiId"),
        "spare_keys": several("keys.createKey", [{"apiId": api} for _ in numbers], "keyId"),
        "spare_identities": several(
            "identities.createIdentity", [{"externalId": f"spare{n}"} for n in numbers], "identityId"
        ),
        "spare_permissions": several("permissions.createPermission", permissions, "permissionId"),
        "spare_roles": several("permissions.createRole", roles, "roleId"),
        "spare_namespaces": [f"spare{n}" for n in numbers],
        "spare_root_keys": several("rootKeys.createKey", [{"permissions": []} for _ in numbers], "keyId"),
    }


def settings() -> Path:
    """schemathesis.toml with the dictionaries."""
    lines = [Path(__file__).with_name("schemathesis.toml").read_text()]
    for name, values in (things_that_exist() | things_to_delete()).items():
        lines.append(f"[dictionaries.{name}]\nvalues = {json.dumps(values)}\n")
    file = SCRATCH / "schemathesis.toml"
    file.write_text("\n".join(lines))
    return file


def main() -> None:
    schemathesis = [sys.executable, "-m", "schemathesis.cli"]
    told = ["--config-file", str(settings()), "run", f"{SERVER_URL}/openapi.json"]
    bounds = ["--max-time", SECONDS, "--seed", SEED, "--no-color"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "fuzz_checks", "PYTHONPATH": str(Path(__file__).parent)}
    # It keeps to its own bound; far beyond that it hangs.
    done = subprocess.run(
        [*schemathesis, *told, *bounds], cwd=SCRATCH, env=environment, timeout=int(SECONDS) + 60, check=False
    )
    assert done.returncode == 0, "schemathesis found faults: see above"
    # It lives on, and the root key holds.
    operator("apis.createApi", {"name": "still here"})


main()
