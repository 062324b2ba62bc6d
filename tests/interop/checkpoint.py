"""Reads checkpoint files without their writer; prints facts about every file as JSON.

    checkpoint.py FILE...

A container of torch.save is parsed with zipfile and pickletools. If torch can be imported, it loads the file with and without
weights_only and writes it again to compare the bytes; otherwise `torch` is null. The index of a TensorFlow bundle (FILE.index) is a
table in LevelDB's format. It is parsed here, including all of its checksums and those of the tensors. If TensorFlow can be imported, it
opens the bundle; otherwise `tensorflow` is null.
"""
import hashlib
import io
import json
import pickle
import struct
import sys
import warnings
import zipfile

ITEMSIZE = {"CharStorage": 1, "ByteStorage": 1, "HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4,
            "DoubleStorage": 8}
DTYPE = {"CharStorage": "int8", "ByteStorage": "uint8", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
         "FloatStorage": "float32", "DoubleStorage": "float64"}


class Loader(pickle.Unpickler):
    """Unpickles only the classes that occur in a checkpoint."""

    def __init__(self, archive, top):
        super().__init__(io.BytesIO(archive.read(f"{top}/data.pkl")))
        self.archive, self.top = archive, top

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        if module == "torch" and name in ITEMSIZE:
            return name
        raise ValueError(f"{module}.{name}")

    def persistent_load(self, found):
        kind, storage, key, place, elements = found
        assert kind == "storage" and place == "cpu", found
        data = self.archive.read(f"{self.top}/data/{key}")
        assert len(data) == elements * ITEMSIZE[storage], (found, len(data))
        return storage, key, data

    def tensor(self, storage, offset, size, stride, requires_grad, hooks):
        kind, key, data = storage
        assert (offset, stride, requires_grad, hooks) == (0, (1,), False, {}), (offset, stride, requires_grad, hooks)
        return {"__tensor__": [DTYPE[kind], size[0], int(key), hashlib.sha256(data).hexdigest()]}


def flat(state, path=()):
    for key, value in state.items():
        if "__tensor__" in value:
            yield "/".join(path + (key,)), value["__tensor__"]
        elif value:
            yield from flat(value, path + (key,))
        else:
            yield "/".join(path + (key,)), None


def taken_apart(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        top = names[0].split("/")[0]
        assert names[0] == f"{top}/data.pkl" and names[-1] == f"{top}/.data/serialization_id", names
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert archive.read(f"{top}/byteorder") == b"little" and archive.read(f"{top}/version") == b"3\n"
        return dict(flat(Loader(archive, top).load()))


def without_id(data):
    name = b"/.data/serialization_id"
    data = bytearray(data)
    at = data.index(name) + len(name)
    at += -at % 64
    data[at:at + 40] = b"0" * 40
    data[at + 44:at + 48] = bytes(4)
    central = data.rindex(name) - len("archive") - 30
    data[central:central + 4] = bytes(4)
    return bytes(data)


def fresh(state, made):
    """Returns the mapping with number keys converted by str(); shared objects stay shared."""
    if id(state) not in made:
        made[id(state)] = {(str(int(key)) if key.isdigit() else sys.intern(key)):
                           (fresh(value, made) if isinstance(value, dict) else value) for key, value in state.items()}
    return made[id(state)]


def loaded(torch, path, expected):
    def walk(state, path=()):
        for key, value in state.items():
            if torch.is_tensor(value):
                data = value.contiguous().view(torch.uint8).numpy().tobytes() if value.numel() else b""
                yield "/".join(path + (key,)), [str(value.dtype).removeprefix("torch."), value.numel(),
                                                hashlib.sha256(data).hexdigest()]
            elif value:
                yield from walk(value, path + (key,))
            else:
                yield "/".join(path + (key,)), None

    want = {key: fact and fact[:2] + fact[3:] for key, fact in expected.items()}
    for safe in (True, False):
        state = torch.load(path, weights_only=safe)
        assert dict(walk(state)) == want, path
    again = io.BytesIO()
    torch.save(fresh(state, {}), again)
    with open(path, "rb") as file:
        same = without_id(file.read()) == without_id(again.getvalue())
    return {"version": torch.__version__, "same_bytes": same}


CRC32C = [0] * 256
for byte in range(256):
    crc = byte
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    CRC32C[byte] = crc
TENSORFLOW = {1: "float32", 2: "float64", 4: "uint8", 6: "int8", 7: "string", 9: "int64", 14: "bfloat16", 19: "float16"}


def masked(data):
    crc, table = 0xFFFFFFFF, CRC32C
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at


def block(data, handle):
    """Returns the entries of a block of a LevelDB table."""
    offset, at = varint(handle, 0)
    size, _ = varint(handle, at)
    content, kind = data[offset:offset + size], data[offset + size]
    assert kind == 0, "compressed"
    assert struct.unpack("<I", data[offset + size + 1:offset + size + 5])[0] == masked(data[offset:offset + size + 1])
    restarts = struct.unpack("<I", content[-4:])[0]
    at, end, key = 0, len(content) - 4 * (restarts + 1), b""
    while at < end:
        shared, at = varint(content, at)
        fresh_bytes, at = varint(content, at)
        length, at = varint(content, at)
        key = key[:shared] + content[at:at + fresh_bytes]
        at += fresh_bytes + length
        yield key, content[at - length:at]


def message(data):
    """Returns the fields of a protocol buffer message."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            assert tag & 7 == 5, tag
            value, at = struct.unpack("<I", data[at:at + 4])[0], at + 4
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def bundle_apart(path):
    with open(path, "rb") as file:
        index = file.read()
    with open(path.removesuffix(".index") + ".data-00000-of-00001", "rb") as file:
        data = file.read()
    footer = index[-48:]
    assert footer[-8:] == struct.pack("<Q", 0xDB4775248B80FB57), footer
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    entries, last = {}, None
    for _, handle in block(index, footer[at:]):
        for key, value in block(index, handle):
            assert last is None or last < key, (last, key)
            last = key
            entries[key.decode()] = message(value)
    header = entries.pop("")
    assert header[1] == [1], header
    facts, covered = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].get(4, [0])):
        dims = [message(dim).get(1, [0])[0] for shape in entry.get(2, []) for dim in message(shape).get(2, [])]
        offset, size = entry.get(4, [0])[0], entry.get(5, [0])[0]
        assert offset == covered and 3 not in entry, (name, entry)
        covered = offset + size
        kind = TENSORFLOW[entry[1][0]]
        if kind != "string":
            assert entry[6] == [masked(data[offset:covered])], name
            facts[name] = [kind, dims, hashlib.sha256(data[offset:covered]).hexdigest()]
    assert covered == len(data), (covered, len(data))
    return facts


def bundle(path):
    try:
        import os
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import tensorflow
    except ImportError:
        return None
    reader = tensorflow.train.load_checkpoint(path.removesuffix(".index"))
    kinds, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    return {name: [kinds[name].name, shapes[name], hashlib.sha256(reader.get_tensor(name).tobytes()).hexdigest()]
            for name in shapes if kinds[name].name != "string" and reader.get_tensor(name) is not None}


def main(paths):
    warnings.simplefilter("ignore")
    try:
        import torch
    except ImportError:
        torch = None
    facts = {}
    for path in paths:
        if path.endswith(".index"):
            facts[path] = {"bundle": bundle_apart(path), "tensorflow": bundle(path)}
            continue
        tensors = taken_apart(path)
        facts[path] = {"tensors": tensors, "torch": torch and loaded(torch, path, tensors)}
    print(json.dumps(facts))


main(sys.argv[1:])
