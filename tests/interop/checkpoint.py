"""Reads checkpoint files without their writer; prints facts about every file as JSON.

    checkpoint.py FILE...

A container of torch.save is taken apart with zipfile and pickletools; where torch can be imported it also loads the file, in
the safe mode and in the unsafe one, and writes it again to compare the bytes. `torch` is null where that was not possible.
The index of a TensorFlow bundle (FILE.index) is opened with TensorFlow, which checks every checksum; null without it.
"""
import hashlib
import io
import json
import pickle
import sys
import warnings
import zipfile

ITEMSIZE = {"CharStorage": 1, "ByteStorage": 1, "HalfStorage": 2, "BFloat16Storage": 2, "FloatStorage": 4,
            "DoubleStorage": 8}
DTYPE = {"CharStorage": "int8", "ByteStorage": "uint8", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
         "FloatStorage": "float32", "DoubleStorage": "float64"}


class Loader(pickle.Unpickler):
    """Understands the few classes of a checkpoint and nothing else."""

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
    """The mapping with the keys that str(number) makes; what was shared stays shared."""
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
            facts[path] = {"tensorflow": bundle(path)}
            continue
        tensors = taken_apart(path)
        facts[path] = {"tensors": tensors, "torch": torch and loaded(torch, path, tensors)}
    print(json.dumps(facts))


main(sys.argv[1:])
