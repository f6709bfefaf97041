"""Records what ClickHouse answers: `python3 answers.py`, after `pip install chdb`, writes `answers.json`.

The embedded engine is held against it by a test of its own. `--check` writes nothing and fails where chdb answers something
else than what is recorded.
"""

import json
import re
import sys

from chdb import session

import oracle

RECORDED = oracle.FOLDER / "answers.json"


def rows_of_events():
    """The events that `oracle.fill` stores, by table."""
    import random

    chance = random.Random(11)
    rows = {"key_verifications_v1": [], "ratelimits_v1": []}
    for number in range(400):
        workspace = "ws_own" if number < 300 else "ws_other"
        rows["key_verifications_v1"].append(oracle.verification(chance, number, workspace))
        rows["ratelimits_v1"].append(oracle.decision(chance, number, workspace))
    return rows


def answered(run, one):
    is_ordered = "@ordered" in one["marks"]
    sorts = bool(re.search(r"group(Uniq)?Array", one["statement"]))
    made = {"statement": one["statement"], "marks": one["marks"], "tables": one.get("tables", "")}
    try:
        _, _, rows = oracle.answer(run, one["printed"], sorts, is_ordered)
        return made | {"rows": rows}
    except Exception as error:  # chdb raises whatever ClickHouse says
        return made | {"error": str(error).splitlines()[0][:200]}


def in_lines(recorded):
    """JSON with a line for each event and each answer."""

    def lines(items):
        return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"

    events = ",\n".join(f"{json.dumps(table)}: {lines(rows)}" for table, rows in recorded["events"].items())
    return f'{{"now": {recorded["now"]}, "events": {{\n{events}\n}}, "answers": {lines(recorded["answers"])}}}'


def main():
    database = session.Session()
    settings = "SETTINGS output_format_json_quote_64bit_integers = 0"

    def run(statement, output="CSV"):
        # The embedded engine has one row of each combination.
        statement = statement.replace(", r.request_id < 'req_00150'", "")
        return database.query(f"{statement} {settings}" if output == "JSONCompact" else statement, output)

    run("SET session_timezone = 'UTC'")
    oracle.fill(run)
    answers = [answered(run, one) for one in oracle.MADE["statements"]]
    text = in_lines({"now": oracle.NOW, "events": rows_of_events(), "answers": answers})
    if "--check" in sys.argv:
        sys.exit(0 if RECORDED.read_text() == text + "\n" else "answers.json is not what chdb answers")
    RECORDED.write_text(text + "\n")
    print(f"{len(answers)} answers, {sum('error' in one for one in answers)} errors")


if __name__ == "__main__":
    main()
