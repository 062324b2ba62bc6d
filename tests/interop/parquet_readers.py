"""Reads every Parquet file below a folder with pyarrow, DuckDB and Polars, and computes its row groups as the MLPerf fork's readers do:
one range per row group, from the offsets that pyarrow reports, which the fork compares with 0 without checking for None.

    parquet_readers.py FOLDER
"""
import json
import pathlib
import sys

import duckdb
import polars
import pyarrow.parquet


def spans(path):
    """Returns the byte range of each row group. A missing offset is an error, as in the fork."""
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        columns = [group.column(index) for index in range(group.num_columns)]
        starts = [column.dictionary_page_offset if column.dictionary_page_offset > 0 else column.data_page_offset
                  for column in columns]
        ends = [start + column.total_compressed_size for start, column in zip(starts, columns)]
        yield min(starts), max(ends), sum(column.total_compressed_size for column in columns)


def facts(path):
    table = pyarrow.parquet.read_table(path)
    table.validate(full=True)
    ducks = duckdb.from_parquet(str(path)).to_arrow_table()
    bears = polars.read_parquet(path)
    for name in table.column_names:
        # Compared as text, because NaNs are not equal to themselves.
        expected = repr(table[name].to_pylist())
        assert expected == repr(ducks[name].to_pylist()), f"DuckDB reads {name} differently"
        assert expected == repr(bears[name].to_list()), f"Polars reads {name} differently"
    found = list(spans(path))
    assert found[0][0] == 4, "the first row group does not follow the magic bytes"
    for (start, end, length), (following, _, _) in zip(found, found[1:] + [(found[-1][1], 0, 0)]):
        assert (end - start, following) == (length, end), "the ranges of row groups have gaps or overlap"
    return {"rows": table.num_rows, "row_groups": len(found), "columns": table.num_columns,
            "bytes": found[-1][1] - 4, "size": path.stat().st_size}


folder = pathlib.Path(sys.argv[1])
print(json.dumps({path.name: facts(path) for path in sorted(folder.rglob("*.parquet"))}))
