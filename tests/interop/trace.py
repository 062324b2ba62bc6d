"""Reads the trace files of a run with pyarrow; prints as JSON: samples read per epoch, bytes per endpoint.

    trace.py FOLDER
"""
import collections
import json
import pathlib
import sys

import pyarrow.parquet


def main():
    samples = collections.defaultdict(list)
    endpoints, ops = collections.Counter(), collections.Counter()
    ranks = set()
    for path in sorted(pathlib.Path(sys.argv[1]).glob("rank-*.parquet")):
        for row in pyarrow.parquet.read_table(path, page_checksum_verification=True).to_pylist():
            ranks.add(row["rank"])
            ops[row["op"]] += 1
            if row["op"] in ("get", "get_range", "read", "put", "multipart_part") and row["endpoint"]:
                endpoints[row["endpoint"]] += row["bytes"]
            if row["phase"] == "train" and row["op"] == "sample":
                samples[row["epoch"]].append(row["sample_idx"])
    print(json.dumps({
        "ranks": sorted(ranks),
        "samples": {str(epoch): sorted(found) for epoch, found in samples.items()},
        "endpoints": endpoints,
        "ops": ops,
    }))


main()
