"""Asks chdb, which is ClickHouse in process, what `benches/queries.rs` asked the engine, of the same Parquet files, and
prints both with their ratio: `python3 compare.py FILE`, after `pip install chdb-core`."""

import json
import math
import statistics
import sys
import time

from chdb import session


def main():
    database = session.Session()
    database.query("SET session_timezone = 'UTC'")
    database.query("SET max_threads = 2")
    ratios = []
    print("| question | rows | engine, ms | chdb, ms | ratio |\n|---|---|---|---|---|")
    for line in open(sys.argv[1]):
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
