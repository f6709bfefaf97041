"""The steps about APIs, permissions, identities and keys; later ones use what earlier ones left in `known`."""

import base64
import hashlib
import time

from step import WINDOW, by_id, data, listed, matches, members, same, step

REFILL = {"interval": "monthly", "amount": 10, "refillDay": 31}


@step("apis.createApi")
def _(known):
    api = yield from data("apis.create_api", name="payments")
    matches(api["apiId"], "api_")
    known.api_id = api["apiId"]
    known.operator("apis.updateApi", {"apiId": known.api_id, "storeEncryptedKeys": True})


@step("apis.getApi")
def _(known):
    same((yield from data("apis.get_api", api_id=known.api_id)), {"id": known.api_id, "name": "payments"})


@step("permissions.createPermission")
def _(known):
    read = yield from data(
        "permissions.create_permission", name="Read", slug="docs.read", description="Reading"
    )
    matches(read["permissionId"], "perm_")
    known.read = {"id": read["permissionId"], "name": "Read", "slug": "docs.read", "description": "Reading"}
    write = yield from data("permissions.create_permission", name="Writing", slug="docs.writing")
    known.write = {"id": write["permissionId"], "name": "Writing", "slug": "docs.writing"}


@step("permissions.updatePermission")
def _(known):
    change = {"permission": known.write["id"], "name": "Write", "slug": "docs.write"}
    updated = yield from data("permissions.update_permission", **change)
    known.write |= {"name": "Write", "slug": "docs.write"}
    same(updated, known.write)


@step("permissions.getPermission")
def _(known):
    for permission in (known.read["id"], known.read["slug"]):
        same((yield from data("permissions.get_permission", permission=permission)), known.read)


@step("permissions.listPermissions")
def _(known):
    same((yield from listed("permissions.list_permissions", 1)), by_id(known.read, known.write))


@step("permissions.createRole")
def _(known):
    role = {"name": "reader", "description": "Reads", "permissions": ["docs.read"]}
    reader = yield from data("permissions.create_role", **role)
    matches(reader["roleId"], "role_")
    known.reader = {"id": reader["roleId"], **role, "permissions": [known.read]}
    writer = yield from data("permissions.create_role", name="scribe")
    known.writer = {"id": writer["roleId"], "name": "scribe"}


@step("permissions.updateRole")
def _(known):
    updated = yield from data("permissions.update_role", role="scribe", name="writer", description="Writes")
    known.writer |= {"name": "writer", "description": "Writes"}
    same(updated, known.writer)
    del known.writer["description"]
    same((yield from data("permissions.update_role", role="writer", description=None)), known.writer)


@step("permissions.getRole")
def _(known):
    for role in (known.reader["id"], known.reader["name"]):
        same((yield from data("permissions.get_role", role=role)), known.reader)


@step("permissions.setRolePermissions")
def _(known):
    wanted = {"roleId": known.writer["id"], "permissions": ["docs.write"]}
    same((yield from data("permissions.set_role_permissions", request=wanted)), [known.write])
    known.writer["permissions"] = [known.write]


@step("permissions.listRoles")
def _(known):
    same((yield from listed("permissions.list_roles", 1)), by_id(known.reader, known.writer))


@step("identities.createIdentity")
def _(known):
    shared = {"name": "shared", "limit": 100, "duration": WINDOW, "autoApply": False}
    created = yield from data(
        "identities.create_identity", external_id="ada", meta={"plan": "free"}, ratelimits=[shared]
    )
    matches(created["identityId"], "id_")
    known.identity = {"id": created["identityId"], "externalId": "ada", "meta": {"plan": "free"}}
    known.shared = shared


@step("identities.getIdentity")
def _(known):
    read = yield from data("identities.get_identity", identity="ada")
    matches(read["ratelimits"][0]["id"], "rl_")
    known.identity["ratelimits"] = [{"id": read["ratelimits"][0]["id"], **known.shared}]
    same(read, known.identity)


@step("identities.updateIdentity")
def _(known):
    updated = yield from data("identities.update_identity", identity=known.identity["id"], meta={"plan": "pro"})
    known.identity["meta"] = {"plan": "pro"}
    same(updated, known.identity)


@step("identities.listIdentities")
def _(known):
    grace = yield from data("identities.create_identity", external_id="grace")
    everyone = yield from listed("identities.list_identities", 1)
    same([one["id"] for one in everyone], sorted([known.identity["id"], grace["identityId"]]))
    same((yield from listed("identities.list_identities", 100, search="ADA")), [known.identity])


@step("keys.createKey")
def _(known):
    known.key = {
        "name": "Mobile",
        "meta": {"plan": "pro", "seats": 3, "nested": {"list": [1, "two", None]}},
        "expires": int(time.time() * 1000) + 86_400_000,
        "credits": {"remaining": 10, "refill": REFILL},
    }
    created = yield from data(
        "keys.create_key",
        api_id=known.api_id,
        prefix="acme",
        byte_length=24,
        external_id="ada",
        roles=["reader"],
        permissions=["docs.list"],
        ratelimits=[{"name": "calls", "limit": 5, "duration": WINDOW, "auto_apply": True}],
        recoverable=True,
        **known.key,
    )
    matches(created["keyId"], "key_")
    matches(created["key"], "acme_")
    known.key_id, known.secret = created["keyId"], created["key"]


@step("keys.getKey")
def _(known):
    read = yield from data("keys.get_key", key_id=known.key_id, decrypt=True)
    created_at, [limit] = read.pop("createdAt"), read.pop("ratelimits")
    assert abs(created_at - time.time() * 1000) < 60_000, created_at
    matches(limit.pop("id"), "rl_")
    same(limit, {"name": "calls", "limit": 5, "duration": WINDOW, "autoApply": True})
    derived = {
        "keyId": known.key_id,
        "start": known.secret[: len("acme_") + 4],
        "enabled": True,
        "identity": known.identity,
        "permissions": ["docs.list", "docs.read"],
        "roles": ["reader"],
        "plaintext": known.secret,
    }
    same(read, known.key | derived)
    assert "plaintext" not in (yield from data("keys.get_key", key_id=known.key_id))


@step("keys.whoami")
def _(known):
    read = yield from data("keys.whoami", key=known.secret)
    same(members(read, "keyId", "name", "credits"), [known.key_id, "Mobile", known.key["credits"]])


@step("keys.verifyKey")
def _(known):
    asked = {
        "key": known.secret,
        "permissions": "docs.read AND docs.list",
        "credits": {"cost": 3},
        "ratelimits": [{"name": "shared", "cost": 2}],
        "tags": ["path=/"],
    }
    told = yield from data("keys.verify_key", **asked)
    same(members(told, "valid", "code", "keyId", "credits"), [True, "VALID", known.key_id, 7])
    same(members(told, "name", "enabled", "expires"), ["Mobile", True, known.key["expires"]])
    same(members(told, "permissions", "roles"), [["docs.list", "docs.read"], ["reader"]])
    same(told["identity"]["externalId"], "ada")
    limits = [members(limit, "name", "remaining", "exceeded", "autoApply") for limit in told["ratelimits"]]
    same(limits, [["calls", 4, False, True], ["shared", 98, False, False]])
    assert all(limit["reset"] > time.time() * 1000 for limit in told["ratelimits"]), told
    refused = yield from data("keys.verify_key", **asked | {"permissions": "docs.delete"})
    same(members(refused, "valid", "code", "credits"), [False, "INSUFFICIENT_PERMISSIONS", 7])
    dear = yield from data("keys.verify_key", key=known.secret, credits={"cost": 8})
    same(members(dear, "valid", "code", "credits"), [False, "USAGE_EXCEEDED", 7])
    many = yield from data("keys.verify_key", key=known.secret, ratelimits=[{"name": "calls", "cost": 9}])
    same(members(many, "valid", "code"), [False, "RATE_LIMITED"])
    unknown = yield from data("keys.verify_key", key="acme_nobody")
    same(unknown, {"valid": False, "code": "NOT_FOUND"})


@step("keys.addPermissions")
def _(known):
    held = yield from data("keys.add_permissions", key_id=known.key_id, permissions=["docs.write", "docs.new"])
    same([one["slug"] for one in held], ["docs.list", "docs.new", "docs.write"])
    assert known.write in held, held


@step("keys.removePermissions")
def _(known):
    held = yield from data("keys.remove_permissions", key_id=known.key_id, permissions=["docs.new"])
    same([one["slug"] for one in held], ["docs.list", "docs.write"])


@step("keys.setPermissions")
def _(known):
    wanted = {"key_id": known.key_id, "permissions": ["docs.write"]}
    same((yield from data("keys.set_permissions", **wanted)), [known.write])
    same((yield from data("keys.set_permissions", key_id=known.key_id, permissions=[])), [])


@step("keys.addRoles")
def _(known):
    held = yield from data("keys.add_roles", key_id=known.key_id, roles=["writer"])
    same(held, [known.reader, known.writer])


@step("keys.removeRoles")
def _(known):
    same((yield from data("keys.remove_roles", key_id=known.key_id, roles=["reader"])), [known.writer])


@step("keys.setRoles")
def _(known):
    held = yield from data("keys.set_roles", key_id=known.key_id, roles=["reader", "writer"])
    same(held, [known.reader, known.writer])
    told = yield from data("keys.verify_key", key=known.secret, credits={"cost": 0})
    same(told["permissions"], ["docs.read", "docs.write"])


@step("keys.updateCredits")
def _(known):
    for operation, value, remaining in [("set", 20, 20), ("increment", 5, 25), ("decrement", 100, 0)]:
        change = {"key_id": known.key_id, "operation": operation, "value": value}
        same((yield from data("keys.update_credits", **change)), {"remaining": remaining, "refill": REFILL})
    unlimited = yield from data("keys.update_credits", key_id=known.key_id, operation="set", value=None)
    same(unlimited, {"remaining": None})


@step("keys.updateKey")
def _(known):
    change = {"name": "Desktop", "meta": None, "expires": None, "enabled": False}
    same((yield from data("keys.update_key", key_id=known.key_id, **change)), {})
    read = yield from data("keys.get_key", key_id=known.key_id)
    same(members(read, "name", "meta", "expires", "enabled"), ["Desktop", None, None, False])
    assert read["updatedAt"] >= read["createdAt"], read
    same((yield from data("keys.verify_key", key=known.secret))["code"], "DISABLED")
    change = {"enabled": True, "external_id": None, "ratelimits": [], "credits": {"remaining": 4}}
    yield from data("keys.update_key", key_id=known.key_id, **change)
    told = yield from data("keys.verify_key", key=known.secret)
    same(members(told, "code", "credits", "identity", "ratelimits"), ["VALID", 3, None, None])


@step("keys.rerollKey")
def _(known):
    known.rerolled = yield from data("keys.reroll_key", key_id=known.key_id, expiration=0)
    matches(known.rerolled["key"], "acme_")
    assert known.rerolled["keyId"] != known.key_id
    same((yield from data("keys.verify_key", key=known.secret))["code"], "EXPIRED")
    told = yield from data("keys.verify_key", key=known.rerolled["key"])
    same(members(told, "code", "name", "credits"), ["VALID", "Desktop", 2])


@step("apis.listKeys")
def _(known):
    made = [known.key_id, known.rerolled["keyId"]]
    for _ in range(3):
        created = yield from data("keys.create_key", api_id=known.api_id, external_id="grace")
        made.append(created["keyId"])
    keys = yield from listed("apis.list_keys", 2, api_id=known.api_id, decrypt=True)
    same([key["keyId"] for key in keys], sorted(made))
    [rerolled] = [key for key in keys if key["keyId"] == known.rerolled["keyId"]]
    same(members(rerolled, "plaintext", "name"), [known.rerolled["key"], "Desktop"])
    same(len((yield from listed("apis.list_keys", 100, api_id=known.api_id, external_id="grace"))), 3)


@step("keys.migrateKeys")
def _(known):
    key = "elsewhere_2Zqv7Zb1o4Wk"
    hashed = base64.b64encode(hashlib.sha256(key.encode()).digest()).decode()
    moved = {"hash": hashed, "name": "Moved", "roles": ["reader", "imported"], "credits": {"remaining": 2}}
    migration = {"migration_id": known.migration_id, "api_id": known.api_id}
    result = yield from data("keys.migrate_keys", **migration, keys=[moved, {"hash": hashed}])
    [migrated] = result["migrated"]
    same(result, {"migrated": [{"hash": hashed, "keyId": migrated["keyId"]}], "failed": [hashed]})
    told = yield from data("keys.verify_key", key=key, migration_id=known.migration_id)
    same(members(told, "code", "keyId", "credits"), ["VALID", migrated["keyId"], 1])
    same(members(told, "name", "roles"), ["Moved", ["imported", "reader"]])
