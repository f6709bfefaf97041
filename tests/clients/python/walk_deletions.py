"""The steps that delete what the steps before made."""

from step import call, data, listed, matches, same, step


@step("permissions.deleteRole")
def _(known):
    same((yield from data("permissions.delete_role", role=known.writer["id"])), {})
    same((yield from data("keys.get_key", key_id=known.rerolled["keyId"]))["roles"], ["reader"])


@step("permissions.deletePermission")
def _(known):
    same((yield from data("permissions.delete_permission", permission="docs.read")), {})
    assert "permissions" not in (yield from data("permissions.get_role", role="reader"))
    assert "permissions" not in (yield from data("keys.verify_key", key=known.rerolled["key"]))


@step("identities.deleteIdentity")
def _(_known):
    answer = yield from call("identities.delete_identity", identity="ada")
    matches(answer.meta.request_id, "req_")
    same((yield from listed("identities.list_identities", 100, search="ada")), [])


@step("keys.deleteKey")
def _(known):
    same((yield from data("keys.delete_key", key_id=known.rerolled["keyId"], permanent=True)), {})
    same((yield from data("keys.verify_key", key=known.rerolled["key"]))["code"], "NOT_FOUND")


@step("apis.deleteApi")
def _(known):
    created = yield from data("keys.create_key", api_id=known.api_id)
    same((yield from data("apis.delete_api", api_id=known.api_id)), {})
    same((yield from data("keys.verify_key", key=created["key"]))["code"], "NOT_FOUND")
