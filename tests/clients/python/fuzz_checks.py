"""A check of the fuzzer's own: a request that agrees with its schema is only refused with 400 for a rule that a schema
cannot say."""

import json
import re

import schemathesis

# Where such a rule looks, by operation.
BEYOND_THE_SCHEMA = {
    # SQL has a grammar, and names of its own.
    "analytics.getRatelimits": {"body.query"},
    "analytics.getUsage": {
        f"body.{member}"
        for member in (
            "start", "bucket", "by", "order", "outcomes", "groupSeries", "apiId", "keyId", "identity", "tag", "namespace",
            "identifier",
        )
    },
    "analytics.getVerifications": {"body.query"},
    "analytics.listRatelimits": {"body.cursor"},
    "analytics.listVerifications": {"body.cursor", "body.outcomes"},
    # Addresses and ranges.
    "apis.updateApi": {"body.ipWhitelist[]"},
    # Names within one request differ.
    "identities.updateIdentity": {"body.ratelimits[].name"},
    # A refill needs a balance; a monthly one has a day, a daily one has none.
    "keys.createKey": {"body.credits.remaining", "body.credits.refill.refillDay"},
    # So has an import; and the form of a hash depends on the migration.
    "keys.migrateKeys": {
        "body.keys[].credits.remaining",
        "body.keys[].credits.refill.refillDay",
        "body.keys[].hash",
    },
    "keys.updateKey": {"body.credits.refill.refillDay"},
    # One of two members; the query has a grammar, and so has an address.
    "keys.explainKey": {"body", "body.permissions", "body.address"},
    "keys.listKeys": {"body.cursor"},
    # Only a balance can be added to, and only by a number.
    "keys.updateCredits": {"body.value", "body.operation"},
    # The query has a grammar; an ad-hoc window is at least a second long, a stored one's length is not looked at.
    "keys.verifyKey": {"body.permissions", "body.ratelimits[].duration"},
    # Permissions of root keys have a grammar; the expiry lies in the future.
    "rootKeys.createKey": {"body.permissions[]", "body.expires"},
    "rootKeys.updateKey": {"body.permissions[]"},
    # A month that has begun, at most 90 days ago.
    "workspace.getUsage": {"body.period"},
}


@schemathesis.check
def refused_only_for_rules_beyond_the_schema(_context, response, case):
    if response.status_code != 400 or not case.meta or case.meta.generation.mode.is_negative:
        return
    operation = case.operation.path.removeprefix("/v2/")
    error = response.json()["error"]
    # PostgreSQL stores every character but this one.
    named = error.get("errors", [])
    of_nul = [fault for fault in named if "U+0000" in fault["message"]]
    if of_nul or "U+0000" in error["detail"]:
        assert r"\u0000" in json.dumps(case.body), f"{operation} speaks of U+0000 where there is none"
        if len(of_nul) == len(named):
            return
    others = [fault for fault in named if fault not in of_nul]
    faults = {re.sub(r"\[\d+\]", "[]", fault["location"]) for fault in others}
    unexplained = faults - BEYOND_THE_SCHEMA.get(operation, set())
    assert faults and not unexplained, f"{operation} refuses what its schema allows: {sorted(unexplained)}"
