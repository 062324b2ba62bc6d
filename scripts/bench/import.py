"""Writes the log of a program with names and sizes like those of a training run: import.py KIND ROWS > FILE. Deterministic."""
import random
import sys
from datetime import datetime, timezone

START_NS = 1_795_245_458_719_968_308


def calendar(ns, digits=9, zone="Z"):
    seconds, rest = divmod(ns, 10**9)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest // 10 ** (9 - digits):0{digits}d}{zone}"


def requests(rows, draw, full):
    """s3dlio's columns, or warp's."""
    names = "idx thread op client_id n_objects bytes endpoint file error start first_byte last_byte end duration_ns cat"
    names = [name for name in names.split() if full or name not in ("last_byte", "cat")]
    yield "\t".join(names)
    now = START_NS
    for row in range(rows):
        now += draw.randrange(100_000)
        took = 200_000 + draw.randrange(3_000_000)
        file = draw.randrange(50_000)
        fields = [row, row % 16, "PUT" if draw.random() < 0.1 else "GET", f"client-{row % 2}", 1, 140_000_000 + file]
        fields += [f"http://10.0.0.{1 + row % 4}:9000", f"train/img_{file:06d}_of_50000.npz", "", calendar(now)]
        fields += [calendar(now + took // 3)] + [""] * full + [calendar(now + took), took] + [0] * full
        yield "\t".join(map(str, fields))


def dftracer(rows, draw):
    yield "["
    head = '"pid":22432,"tid":22432,"ph":4,"args":{"hhash":"6882804a826580cd"'
    for file in range(1000):
        name = f"data/train/img_{file:04d}_of_1000.npz"
        yield f'{{"id":{file},"name":"FH","cat":"dftracer","type":1,{head},"name":"{name}","value":"{file * 7919:016x}"}}}}'
    now = START_NS // 1000
    for row in range(rows):
        now += draw.randrange(100)
        name = ("open64", "read", "read", "read", "lseek64", "close")[row % 6]
        args = f'"p_idx":3,"level":4,"fhash":"{draw.randrange(1000) * 7919:016x}","ret":262144,"count":262144'
        yield (
            f'{{"id":{row + 1000},"name":"{name}","cat":"POSIX","type":2,"pid":22432,"tid":{22432 + row % 4},"ts":{now},'
            f'"dur":{draw.randrange(3000)},"ph":1,"args":{{"hhash":"6882804a826580cd",{args},"offset":{262144 * (row % 50)}}}}}'
        )


def kv_cache(rows, draw):
    yield "Timestamp,Operation,Object_Size_Bytes,Tier,Key,Phase\r"
    now = START_NS // 1000
    for row in range(rows):
        now += draw.randrange(100)
        what, phase = ("Write", "Prefill") if row % 3 == 0 else ("Read", "Decode")
        key = f"conv_user_{row % 5000:04d}_turn_{row % 7}"
        yield f"{now // 10**6}.{now % 10**6:06d},{what},{131072 * (1 + row % 20)},Tier-{row % 3},{key},{phase}\r"


def fio(rows, draw):
    yield "fio version 3 iolog\n0 /data/job.0.0 add\n0 /data/job.0.0 open"
    now = 0
    for row in range(rows):
        now += draw.randrange(100)
        yield f"{now} /data/job.0.0 {'read' if row % 3 else 'write'} {65536 * draw.randrange(4000)} 65536"


def elbencho(rows, _):
    now = START_NS
    for row in range(rows // 2):
        now += 25_000
        date = calendar(now, 3, "+0000")
        where = f'"entry_name": "/data/r{row % 8}/file{row % 4000}", "offset": {1048576 * (row % 64)}, "length": 1048576'
        for finished in ("false", "true"):
            yield (
                f'{{ "date": "{date}", "worker_rank": {row % 8}, "op_name": "pread", {where}, '
                f'"is_finished": {finished}, "is_error": false }}'
            )


def darshan_dxt(rows, _):
    yield "# DXT, file_id: 9457796068806373448, file_name: /data/shared\n# DXT, rank: 0, hostname: node0"
    for row in range(rows):
        start = row * 0.0003
        yield f" X_POSIX {0:7d} {'read':>6} {row:8d} {row * 65536:15d} {65536:15d} {start:11.4f} {start + 0.0002:11.4f}   77"


KINDS = {
    "op-log": lambda rows, draw: requests(rows, draw, False),
    "warp": lambda rows, draw: requests(rows, draw, True),
    "dftracer": dftracer,
    "kv-cache": kv_cache,
    "fio": fio,
    "elbencho": elbencho,
    "darshan-dxt": darshan_dxt,
}

for line in KINDS[sys.argv[1]](int(sys.argv[2]), random.Random(7)):
    sys.stdout.write(line + "\n")
