"""Compares the statements that are printed for ClickHouse with those that they were made of.

It runs both in chdb, which is ClickHouse in process: `python3 oracle.py`, after `pip install chdb`. `statements.sql` has the
originals, `clickhouse.json` what a test of the core printed. The originals read tables that have only the rows of the workspace
`ws_own`; what was printed reads tables that have those of another one too.
"""

import json
import math
import pathlib
import random
import re
import sys

from chdb import session

FOLDER = pathlib.Path(__file__).parent
MADE = json.loads((FOLDER / "clickhouse.json").read_text())
NOW = MADE["now"]
DAY = 86_400_000
OUTCOMES = ["VALID"] * 8 + ["RATE_LIMITED", "RATE_LIMITED", "EXPIRED", "DISABLED", "USAGE_EXCEEDED"]


def literal(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return repr(value)


def verification(chance, number, workspace):
    key = chance.randrange(12)
    outcome = "VALID" if key == 3 else chance.choice(OUTCOMES)
    tags = chance.sample(["path=/v1", "path=/v2", "region=eu", "plan=pro", "VALID"], chance.randrange(4))
    return {
        "request_id": f"req_{number:05}", "time": NOW - chance.randrange(25 * DAY), "workspace_id": workspace,
        "key_space_id": f"ks_{key % 3}", "api_id": f"api_{key % 3}", "identity_id": f"id_{key % 5}" if key % 2 else "",
        "external_id": f"user_{key % 5}" if key % 2 else "", "key_id": f"key_{key}", "region": chance.choice(["eu", "us"]),
        "source": chance.choice(["api", "api", "gateway"]), "app_id": "", "outcome": outcome, "tags": tags,
        "spent_credits": chance.choice([0, 0, 1, 2, 5]) if outcome == "VALID" else 0,
        "latency": chance.randrange(1, 4000) / 125,
        "refused_by": ["requests"] if outcome == "RATE_LIMITED" else [], "root_key_id": "root_1",
    }


def decision(chance, number, workspace):
    time, limit = NOW - chance.randrange(25 * DAY), chance.choice([10, 100])
    remaining = chance.randrange(limit)
    return {
        "request_id": f"req_{number:05}", "time": time, "workspace_id": workspace, "namespace_id": f"rlns_{number % 3}",
        "namespace": ["login", "send", "odd 'name'"][number % 3], "identifier": f"user_{chance.randrange(8)}",
        "passed": chance.random() < 0.7, "latency": chance.randrange(1, 4000) / 125, "override_id": "", "limit": limit,
        "remaining": remaining, "reset_at": time + chance.randrange(60_000), "tokens": chance.choice([0, 1, 1, 3]),
        "root_key_id": "root_1",
    }


def aggregate(database, kind, table, columns):
    raw = {"v": "key_verifications", "r": "ratelimits"}[kind]
    grain = re.search(r"per_(\w+)_v1", table).group(1)
    instant = "fromUnixTimestamp64Milli(`time`, 'UTC')"
    times = {"minute": f"toStartOfMinute({instant})", "hour": f"toStartOfHour({instant})", "day": f"toDate({instant})",
             "month": f"toStartOfMonth({instant})"}
    computed = {
        "time": times[grain], "count": "toInt64(count())", "total": "toInt64(count())", "passed": "toInt64(countIf(r.passed))",
        "total_tokens": "toInt64(sum(r.tokens))", "passed_tokens": "toInt64(sumIf(r.tokens, r.passed))",
        "latency_avg": "avgState(r.latency)", "latency_p75": "quantilesTDigestState(0.75)(r.latency)",
        "latency_p99": "quantilesTDigestState(0.99)(r.latency)",
    }
    if kind == "v":
        computed["spent_credits"] = "toInt64(sum(r.spent_credits))"
    values, keys = [], []
    for name, _ in columns:
        value = computed.get(name, f"r.`{name}`")
        values.append(value)
        if name not in computed or name == "time":
            keys.append(value)
    # Two partial rows of one combination are possible.
    keys.append("r.request_id < 'req_00150'")
    return f"INSERT INTO {database}.{table} SELECT {', '.join(values)} FROM {database}.{raw}_v1 AS r GROUP BY {', '.join(keys)}"


def fill(run):
    chance = random.Random(11)
    rows = {"key_verifications_v1": [], "ratelimits_v1": []}
    for number in range(400):
        rows["key_verifications_v1"].append(verification(chance, number, "ws_own" if number < 300 else "ws_other"))
        rows["ratelimits_v1"].append(decision(chance, number, "ws_own" if number < 300 else "ws_other"))
    for database in ("seen", "stored"):
        run(f"CREATE DATABASE {database}")
        for table in MADE["tables"]:
            columns = ", ".join(f"`{name}` {of}" for name, of in table["columns"])
            run(f"CREATE TABLE {database}.{table['name']} ({columns}) ENGINE = MergeTree ORDER BY (workspace_id, time)")
            if table["name"] not in rows:
                kind = "v" if table["name"].startswith("key") else "r"
                run(aggregate(database, kind, table["name"], table["columns"]))
                continue
            kept = [row for row in rows[table["name"]] if database == "stored" or row["workspace_id"] == "ws_own"]
            values = ["(" + ", ".join(literal(row[name]) for name, _ in table["columns"]) + ")" for row in kept]
            run(f"INSERT INTO {database}.{table['name']} VALUES {', '.join(values)}")


def fixed_now(statement):
    """The statement at the time at which the other one was printed."""
    seconds, days = NOW // 1000, NOW // DAY
    statement = re.sub(r"\bnow\(\)", f"toDateTime({seconds}, 'UTC')", statement)
    statement = re.sub(r"\bnow64\((3)?\)", f"fromUnixTimestamp64Milli({NOW}, 'UTC')", statement)
    return re.sub(r"\btoday\(\)", f"toDate({days})", statement)


def family(of):
    of = re.sub(r"(LowCardinality|SimpleAggregateFunction)\((.*)\)", r"\2", of)
    of = of.replace("('UTC')", "").replace(", 'UTC'", "").replace("DateTime64(0)", "DateTime")
    return re.sub(r"\bU?Int\d+\b", "Int", re.sub(r"\bFloat\d+\b", "Float", of))


def plain(value, sorts):
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else float(f"{value:.9g}")
    if isinstance(value, list):
        items = [plain(item, sorts) for item in value]
        return sorted(items, key=repr) if sorts else items
    return value


def answer(run, statement, sorts, is_ordered):
    got = json.loads(str(run(statement, "JSONCompact")))
    rows = [[plain(value, sorts) for value in row] for row in got["data"]]
    if not is_ordered:
        rows.sort(key=repr)
    return [column["name"] for column in got["meta"]], [column["type"] for column in got["meta"]], rows


def main():
    database = session.Session()
    settings = "SETTINGS output_format_json_quote_64bit_integers = 0"

    def run(statement, output="CSV"):
        return database.query(f"{statement} {settings}" if output == "JSONCompact" else statement, output)

    run("SET session_timezone = 'UTC'")
    fill(run)
    run("USE seen")
    faults = 0
    for one in MADE["statements"]:
        sorts, is_ordered = bool(re.search(r"group(Uniq)?Array", one["statement"])), "@ordered" in one["marks"]
        problems, names = [], [name for name, _ in one["columns"]]
        try:
            _, types, rows = answer(run, one["printed"], sorts, is_ordered)
            said = [family(of) for _, of in one["columns"]]
            if [family(of) for of in types] != said:
                problems.append(f"types of the printed: {types}, the tree says {said}")
            meant = re.search(r"^-- means: (.*)$", one["statement"], re.MULTILINE)
            if meant or "@only" not in one["marks"]:
                asked = meant.group(1) if meant else one["statement"]
                original_names, original_types, original = answer(run, fixed_now(asked), sorts, is_ordered)
                # NULL alone is of a type that can hold nothing, and of one that can hold something here.
                pairs = zip((family(of) for of in original_types), said, strict=True)
                if any(theirs != ours and theirs != "Nullable(Nothing)" for theirs, ours in pairs):
                    problems.append(f"types of the original: {original_types}, the tree says {said}")
                if original != rows:
                    problems.append(f"rows differ\n    original {original[:6]}\n    printed  {rows[:6]}")
                if original_names != names and not meant and "now" not in one["statement"]:
                    problems.append(f"names of the original: {original_names}, the tree says {names}")
        except Exception as error:  # chdb raises whatever ClickHouse says
            problems.append(str(error)[:600])
        if problems:
            faults += 1
            print(f"\n{one['statement']}\n  {one['printed']}")
            print("\n".join(f"  ! {problem}" for problem in problems))
    print(f"{len(MADE['statements'])} statements, {faults} with differences")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
