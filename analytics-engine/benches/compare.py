"""Asks chdb, which is ClickHouse in process, what `benches/queries.rs` asked the engine, of the same Parquet files, and
prints both with their ratio: `python3 compare.py FILE`, after `pip install chdb-core`. With `--mergetree` the files are loaded
into tables of ClickHouse's own first, sorted as they are."""

import json
import math
import re
import statistics
import sys
import time

from chdb import session


FILES = re.compile(r"file\('[^']*/(\w+)-\*\.parquet', Parquet\)")


def load(database, lines):
    """A table of each kind of files; the statements then read from these."""
    database.query("CREATE DATABASE IF NOT EXISTS loaded ENGINE = Atomic")
    for source in sorted({match.group(0) for line in lines for match in FILES.finditer(line)}):
        name = "loaded." + FILES.match(source).group(1)
        database.query(
            f"CREATE TABLE {name} ENGINE = MergeTree ORDER BY (workspace_id, key_id, time) AS SELECT * FROM {source}"
        )
        database.query(f"OPTIMIZE TABLE {name} FINAL")
    return [FILES.sub(lambda match: "loaded." + match.group(1), line) for line in lines]


def main():
    database = session.Session()
    database.query("SET session_timezone = 'UTC'")
    database.query("SET max_threads = 2")
    lines = open(next(argument for argument in sys.argv[1:] if not argument.startswith("-"))).readlines()
    if "--mergetree" in sys.argv:
        lines = load(database, lines)
    ratios = []
    print("| question | rows | engine, ms | chdb, ms | ratio |\n|---|---|---|---|---|")
    for line in lines:
        asked = json.loads(line)
        took = []
        for _ in range(len(asked["ms"]) + 1):
            began = time.perf_counter()
            rows = json.loads(str(database.query(asked["clickhouse"], "JSONCompact")))["rows"]
            took.append((time.perf_counter() - began) * 1000)
        assert rows == asked["rows"], (asked["name"], rows, asked["rows"])
        engine, chdb = statistics.median(asked["ms"]), statistics.median(took[1:])
        ratios.append(engine / chdb)
        print(f"| {asked['name']} | {rows} | {engine:.1f} | {chdb:.1f} | {engine / chdb:.2f} |")
    print(f"| geometric mean | | | | {math.prod(ratios) ** (1 / len(ratios)):.2f} |")


if __name__ == "__main__":
    main()
