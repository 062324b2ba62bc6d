"""Reads a dataset with numpy, h5py, pyarrow, Pillow, csv or an independent TFRecord parser; prints facts about every file as JSON.

    dataset.py FORMAT FOLDER
"""
import hashlib
import json
import pathlib
import struct
import sys
import zlib


def npz(path):
    import numpy
    with numpy.load(path) as archive:
        x, y = archive["x"], archive["y"]
        return {"shape": list(x.shape), "dtype": str(x.dtype), "labels": y.tolist(), "label_dtype": str(y.dtype),
                "members": list(archive.files), "sum": digest(x.tobytes()), "ratio": ratio(x.tobytes())}


def npy(path):
    import numpy
    x = numpy.load(path)
    return {"shape": list(x.shape), "dtype": str(x.dtype), "sum": digest(x.tobytes()), "ratio": ratio(x.tobytes())}


def hdf5(path):
    import h5py
    with h5py.File(path, "r") as file:
        x, y = file["records_0"][...], file["labels"][...]
        return {"shape": list(x.shape), "dtype": str(x.dtype), "labels": y.tolist(), "label_dtype": str(y.dtype),
                "members": sorted(file), "sum": digest(x.tobytes()), "ratio": ratio(x.tobytes())}


def masked(crc):
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            assert len(value) == length, "a field runs over the end of its message"
        else:
            raise AssertionError(f"wire type {key & 7}")
        yield key >> 3, value


def example(payload):
    (_, features), = fields(payload)
    found = {}
    for _, entry in fields(features):
        parts = dict(fields(entry))
        name, feature = parts[1].decode(), dict(fields(parts[2]))
        (kind, values), = feature.items()
        (_, value), = fields(values)
        found[name] = value if kind == 1 else varint(value, 0)[0]
    return found


def tfrecord(path):
    import google_crc32c
    data = path.read_bytes()
    index = path.parent.parent / "index" / path.parent.name / (path.name + ".idx")
    at, frames, sizes, body = 0, [], [], b""
    while at < len(data):
        length, length_crc = struct.unpack_from("<QI", data, at)
        assert masked(google_crc32c.value(data[at:at + 8])) == length_crc, f"length CRC at {at}"
        payload = data[at + 12:at + 12 + length]
        (payload_crc,) = struct.unpack_from("<I", data, at + 12 + length)
        assert masked(google_crc32c.value(payload)) == payload_crc, f"payload CRC at {at}"
        features = example(payload)
        assert features["size"] == len(features["image"]), "size is not the image's"
        sizes.append(features["size"])
        body += features["image"]
        frames.append(f"{at} {length + 16}")
        at += length + 16
    listed = index.read_text().splitlines()
    assert listed == frames, f"index {listed} but frames {frames}"
    return {"shape": sizes, "dtype": "uint8", "sum": digest(body), "ratio": ratio(body)}


def csv(path):
    import csv as parser
    import gzip
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    assert text.endswith("\n"), "the last row has no newline"
    rows = [bytes(map(int, row)) for row in parser.reader(text.splitlines())]
    return {"shape": [len(rows), len(rows[0])], "dtype": "uint8", "sum": digest(rows[0]), "ratio": ratio(rows[0]),
            "widths": sorted({len(row) for row in rows}), "distinct": len(set(rows))}


def image(path):
    from PIL import Image
    with Image.open(path) as file:
        file.verify()
    with Image.open(path) as file:
        assert file.format == {".png": "PNG", ".jpeg": "JPEG"}[path.suffix], file.format
        pixels = file.tobytes()
        return {"shape": [file.height, file.width], "dtype": {"L": "uint8"}[file.mode], "sum": digest(pixels),
                "ratio": ratio(path.read_bytes()), "size": path.stat().st_size,
                "values": len(set(pixels)), "quality": [list(table) for table in getattr(file, "quantization", {}).values()]}


def indexed(path):
    """Memory-maps the index files and the samples, as Megatron's datasets do."""
    import numpy
    offsets = numpy.memmap(f"{path}.off.idx", dtype=numpy.uint64, mode="r")
    sizes = numpy.memmap(f"{path}.sz.idx", dtype=numpy.uint64, mode="r")
    data = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    samples = [data[int(offset):int(offset + size)] for offset, size in zip(offsets, sizes)]
    assert sum(len(sample) for sample in samples) == len(data), "the samples are not the file"
    body = b"".join(sample.tobytes() for sample in samples)
    return {"shape": sizes.tolist(), "offsets": offsets.tolist(), "dtype": "uint8", "sum": digest(body),
            "ratio": ratio(body)}


def parquet(path):
    """Reads every value of every row group, then the last row group again column by column."""
    import pyarrow.parquet
    file = pyarrow.parquet.ParquetFile(path)
    table = file.read()
    table.validate(full=True)
    last = file.metadata.num_row_groups - 1
    again = file.read_row_group(last)
    # Compared as text, because NaNs are not equal to themselves.
    assert repr(again.to_pylist()) == repr(table.slice(table.num_rows - again.num_rows).to_pylist())
    groups = [file.metadata.row_group(group) for group in range(last + 1)]
    body = b"".join(buffer for column in table.columns for chunk in column.chunks
                    for buffer in map(bytes, filter(None, chunk.buffers())))
    return {"shape": [group.num_rows for group in groups], "dtype": "uint8", "sum": digest(body), "ratio": ratio(body),
            "schema": {field.name: str(field.type) for field in file.schema_arrow},
            "nulls": sum(column.null_count for column in table.columns),
            "compression": sorted({group.column(column).compression for group in groups
                                   for column in range(group.num_columns)}),
            "samples": {name: str(table.column(name)[0])[:60] for name in table.column_names}}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def ratio(data):
    return len(zlib.compress(data, 6)) / max(len(data), 1)


def main():
    fmt, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    read = {"npz": npz, "npy": npy, "hdf5": hdf5, "tfrecord": tfrecord, "csv": csv, "png": image,
            "jpeg": image, "indexed_binary": indexed, "mmap_indexed_binary": indexed, "parquet": parquet}[fmt]
    files = sorted(path for part in ("train", "valid") for path in (folder / part).rglob(f"*.{fmt}"))
    print(json.dumps({str(path.relative_to(folder)): read(path) for path in files}))


main()
