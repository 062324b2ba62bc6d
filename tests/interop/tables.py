"""Reads the side tables of a trace folder with pyarrow; prints their contents as JSON.

    tables.py FOLDER
"""
import json
import pathlib
import sys

import pyarrow.parquet


def main():
    folder = pathlib.Path(sys.argv[1])
    counters = pyarrow.parquet.read_table(folder / "counters.parquet", page_checksum_verification=True).to_pylist()
    json.dump(
        {
            "files": pyarrow.parquet.read_table(folder / "files.parquet", page_checksum_verification=True).to_pylist(),
            "counter_ranks": sorted({row["rank"] for row in counters}),
            "rss_bytes_min": min(row["rss_bytes"] for row in counters),
        },
        sys.stdout,
    )


main()
