"""Computes the figures of a report from the trace files with pandas, and compares them.

    analysis.py FOLDER REPORT.json

Prints how many values were compared, and those that differ.
"""
import glob
import json
import math
import sys

import pandas

READS = ["get", "get_range", "read"]
WRITES = ["put", "multipart_part", "write"]
BOUNDS = [0, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20]
LABELS = ["0 B", "≤ 4 KiB", "≤ 64 KiB", "≤ 1 MiB", "≤ 16 MiB", "≤ 256 MiB", "> 256 MiB"]

compared, differ = 0, []


def same(what, found, expected, tolerance=1e-9):
    global compared
    compared += 1
    if not math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-9):
        differ.append([what, found, expected])


def failed(rows):
    return ((rows.outcome != "ok") & ~((rows.op == "stat") & (rows.outcome == "not_found"))).sum()


def percentile(values, share):
    """Returns the nearest-rank percentile: the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(round(len(ordered) * share, 6)), 1) - 1]


def latency(what, found, values):
    same(f"{what} count", found["count"], len(values))
    same(f"{what} mean", found["mean_ns"], values.mean(), 1e-6)
    for name, share in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999), ("max", 1.0)]:
        same(f"{what} {name}", found[f"{name}_ns"], percentile(values, share))


def operations(report, rows):
    storage = rows[rows.kind == "io"].copy()
    size = storage.bytes.map(lambda value: LABELS[sum(bound < value for bound in BOUNDS)])
    storage["size"] = size.where(storage.op.isin(READS + WRITES), "")
    found = {(row["op"], row["size"]): row for row in report["operations"]}
    groups = storage[storage["size"] != ""].groupby(["op", "size"])
    for (op, label), group in groups:
        row = found[(op, label)]
        same(f"{op} {label} bytes", row["bytes"], group.bytes.sum())
        same(f"{op} {label} errors", row["errors"], failed(group))
        latency(f"{op} {label}", row["latency"], group.duration)
        timed = group[group.t_first_byte_ns.notna()]
        if len(timed):
            latency(f"{op} {label} first byte", row["first_byte"], timed.t_first_byte_ns - timed.t_start_ns)
            latency(f"{op} {label} transfer", row["transfer"], timed.t_end_ns - timed.t_first_byte_ns)
    same("operations", report["run"]["operations"], len(storage))
    same("errors", report["run"]["errors"], failed(storage))
    same("read bytes", report["run"]["read_bytes"], storage[storage.op.isin(READS)].bytes.sum())
    for rank, group in storage[storage.op.isin(READS + WRITES)].groupby("rank"):
        row = next(row for row in report["ranks"] if row["rank"] == rank)
        latency(f"rank {rank}", row["flow"]["latency"], group.duration)


def utilisation(report, rows, parameters):
    """Returns DLIO's AU: compute time of the counted steps, divided by the time of the block without the other steps."""
    first, last = parameters["exclude_start_steps"], parameters["train_steps"] - parameters["exclude_end_steps"]
    train = rows[(rows.phase == "train") & (rows.epoch > 0)]
    for (epoch, rank), group in train.groupby(["epoch", "rank"]):
        values, weights = [], []
        for block, steps in group.groupby("block"):
            span = steps[steps.op == "block"]
            fetch = steps[steps.op == "fetch"].sort_values("step")
            compute = steps[steps.op == "compute"].sort_values("step")
            if span.empty or fetch.empty:
                continue
            took = list(compute.duration)
            whole = [end - start for start, end in zip(fetch.t_start_ns, compute.t_end_ns)]
            time = span.duration.iloc[0] - sum(whole[:first]) - sum(whole[last:])
            values.append(100 * sum(took[first:last]) / time if time > 0 else 0)
            weights.append(len(whole))
        if weights:
            mean = sum(value * weight for value, weight in zip(values, weights)) / sum(weights)
            row = next(row for row in report["times"] if (row["epoch"], row["rank"]) == (epoch, rank))
            same(f"AU of epoch {epoch}, rank {rank}", row["au_percentage"], mean, 1e-6)


def concurrency(report, rows):
    """Returns the number of operations in flight between each rank's first fetch and the end of its last computation."""
    for row in report["why"]["overlap"]:
        mine = rows[rows["rank"] == row["rank"]]
        loop = mine[mine.op.isin(["fetch", "compute"]) & (mine.phase == "train")]
        start, end = loop.t_start_ns.min(), loop.t_end_ns.max()
        storage = mine[(mine.kind == "io") & (mine.t_end_ns > mine.t_start_ns)]
        inside = (storage.t_end_ns.clip(upper=end) - storage.t_start_ns.clip(lower=start)).clip(lower=0)
        same(f"in flight on rank {row['rank']}", row["concurrency"], inside.sum() / (end - start), 1e-6)
        edges = sorted([(t, 1) for t in storage.t_start_ns] + [(t, -1) for t in storage.t_end_ns])
        flying, most = 0, 0
        for at, (time, change) in enumerate(edges):
            flying += change
            upto = edges[at + 1][0] if at + 1 < len(edges) else time
            if min(upto, end) > max(time, start):
                most = max(most, flying)
        same(f"most in flight on rank {row['rank']}", row["concurrency_max"], most)


def main():
    folder, path = sys.argv[1:]
    report = json.load(open(path))
    files = sorted(glob.glob(f"{folder}/rank-*.parquet") or glob.glob(f"{folder}/trace/rank-*.parquet"))
    rows = pandas.concat([pandas.read_parquet(file) for file in files], ignore_index=True)
    rows["duration"] = rows.t_end_ns - rows.t_start_ns
    same("events", report["run"]["events"], len(rows))
    operations(report, rows)
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(files[0]).metadata
    parameters = json.loads(metadata[b"dlio.trace.config"]).get("metric_parameters")
    if parameters and parameters.get("formula", "dlio") == "dlio":
        utilisation(report, rows, parameters)
    concurrency(report, rows)
    print(json.dumps({"values": compared, "differ": differ}, default=float))


main()
