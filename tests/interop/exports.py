"""Counts the rows of a trace and of its exports; prints them as JSON.

    exports.py TRACE_FOLDER EXPORTS
"""
import csv
import gzip
import json
import pathlib
import sys

import pyarrow
import pyarrow.parquet

REQUESTS = {"get", "get_range", "read", "put", "multipart_part", "write", "head", "stat", "list", "delete"}


def main():
    folder, exports = map(pathlib.Path, sys.argv[1:])
    rows = [row for path in sorted(folder.glob("rank-*.parquet")) for row in pyarrow.parquet.read_table(path, page_checksum_verification=True).to_pylist()]
    events = json.loads((exports / "run.json").read_text())["traceEvents"]
    with (exports / "run.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert int(table[0]["t_start_ns"]) == rows[0]["t_start_ns"] and table[0]["op"] == rows[0]["op"]
    pfw = [
        json.loads(line)
        for path in sorted((exports / "pfw").glob("*.pfw.gz"))
        for line in gzip.open(path, "rt")
        if line.startswith("{")
    ]
    pfw = [line for line in pfw if "derived" not in line["args"]]
    with pyarrow.CompressedInputStream((exports / "run.csv.zst").open("rb"), "zstd") as file:
        warp = file.read().decode()
    json.dump(
        {
            "rows": len(rows),
            "requests": sum(row["op"] in REQUESTS for row in rows),
            "chrome": sum(event["ph"] == "X" for event in events),
            "csv": len(table),
            "pfw": sum(event["ph"] == "X" for event in pfw),
            "warp": len(warp.splitlines()) - 1,
        },
        sys.stdout,
    )


main()
