"""Compares the row groups that a run requested in its training steps with the metadata of the same files, read by pyarrow.
Prints as JSON the number of requests, the number of requests for other ranges, and the number of footer reads in each phase.

    row_groups.py TRACE DATA_FOLDER ROW_GROUPS_PER_REQUEST
"""
import collections
import json
import pathlib
import sys

import pyarrow.parquet


def spans(path, together):
    """Returns the range of each request, and the offset of the footer."""
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(at) for at in range(group.num_columns)]
        starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
        ends = [start + c.total_compressed_size for start, c in zip(starts, columns)]
        groups.append((min(starts), max(ends)))
    chunks = [groups[at:at + together] for at in range(0, len(groups), together)]
    return [(chunk[0][0], chunk[-1][1] - chunk[0][0]) for chunk in chunks], groups[-1][1]


def main():
    trace, data, together = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    expected, footers = collections.Counter(), {}
    for path in sorted(data.glob("train/*.parquet")):
        ranges, footers[path.name] = spans(path, together)
        expected.update((path.name, *found) for found in ranges)
    asked, tails = collections.Counter(), collections.Counter()
    for path in trace.glob("rank-*.parquet"):
        for row in pyarrow.parquet.read_table(path).to_pylist():
            if row["op"] not in ("read", "get", "get_range"):
                continue
            name = row["uri"].rsplit("/", 1)[-1]
            if row["offset"] + row["bytes"] > footers[name]:
                tails[row["phase"]] += 1
            elif row["phase"] == "train":
                asked[name, row["offset"], row["bytes"]] += 1
    print(json.dumps({
        "requests": sum(asked.values()),
        "others": sum(((asked - expected) + (expected - asked)).values()),
        "footers": tails,
    }))


main()
