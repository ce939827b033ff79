"""Files that want something else than to be read: written by the tests, never kept.

Each is a valid archive of weights but for one trick. `corpus()` yields their names and bytes; names that begin with
"fine" must be read, all others refused.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANARY = "canary.txt"
PROTO, STOP = b"\x80\x02", b"."
FOUR = struct.pack("<4f", 1, 2, 3, 4)


# ------------------------------------------------------------------------------------------------- pieces of pickles


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def items(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def mapping(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in values.items()) + b"u"


def called(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + items(*arguments) + b"R"


def storage(count: int = 4, kind: str = "FloatStorage", key: bytes | None = None, word: str = "storage") -> bytes:
    return items(text(word), name("torch", kind), key or text("0"), text("cpu"), whole(count)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] = (1,),
    offset: int = 0,
    inner: bytes | None = None,
    function: str = "_rebuild_tensor_v2",
) -> bytes:
    sizes = (items(*map(whole, v)) for v in (shape, strides))
    hooks = called("collections", "OrderedDict")
    return called("torch._utils", function, inner or storage(), whole(offset), *sizes, b"\x89", hooks)


MODULE = text("training") + b"\x89"
"""What every module has, and nothing else."""


def record(kind: str = "Net", state: bytes = b"}") -> bytes:
    return name("__torch__", kind) + b")\x81" + state + b"b"


# ------------------------------------------------------------------------------------------------------------ archives


def archive(body: bytes, *, raw: bool = False, scripted: bool = False, numbers: bytes = FOUR, **more: bytes) -> bytes:
    """Return a zip as PyTorch writes it, around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("x/data.pkl", body if raw else PROTO + body + STOP)
        file.writestr("x/data/0", numbers)
        if scripted:
            file.writestr("x/code/__torch__.py", b"import os\nos.system('touch canary.txt')\n")
        for key, data in more.items():
            file.writestr(f"x/{key}", data)
    return out.getvalue()


def state(value: bytes) -> bytes:
    return archive(mapping(a=value))


def zipped(change: Callable[[zipfile.ZipFile], Any]) -> bytes:
    out = io.BytesIO(state(tensor()))
    with zipfile.ZipFile(out, "a") as file:
        change(file)
    return out.getvalue()


def info(path: str, **values: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path)
    for key, value in values.items():
        setattr(entry, key, value)
    return entry


def patched(data: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


# -------------------------------------------------------------------------------------------------------- the tricks


class Payload:
    """Pickled by Python itself, it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {CANARY}",)


def names() -> Iterator[tuple[str, bytes]]:
    """Names of functions that must not be called."""
    command = text(f"touch {CANARY}")
    for module, attribute in [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
        ("builtins", "exec"), ("builtins", "getattr"), ("builtins", "open"), ("__builtin__", "eval"),
        ("importlib", "import_module"), ("runpy", "run_path"), ("webbrowser", "open"), ("socket", "create_connection"),
        ("shutil", "rmtree"), ("pickle", "loads"), ("torch", "load"), ("torch.jit", "load"), ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"), ("torch.serialization", "load"), ("torch.ops", "load_library"),
        ("torch", "os.system"), ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch.os", "system"),
        ("collections", "namedtuple"), ("collections.OrderedDict", "__init__"), ("numpy.core.multiarray", "scalar"),
        ("__main__", "Net"), ("__torch__x", "Net"), ("__torch__..os", "system"), ("__torch__", "a b"), ("", ""),
        ("a_module_that_nobody_has", "run"), ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("torch", "FloatStorage.__class__"), ("torch", "ComplexFloatStorage"), ("torch.storage", "UntypedStorage"),
        ("torch._utils", "_rebuild_qtensor"), ("torch", "QInt8Storage"),
        ("__torch__.torch.classes.quantized", "Conv2dPackedParamsBase"),
        ("torch", "device"), ("torch", "device.__init__"),
    ]:  # fmt: skip
        label = f"name_{module}_{attribute}".replace(" ", "")
        yield label, state(called(module, attribute, command))
        yield f"{label}_new", state(name(module, attribute) + items(command) + b"\x81")
    yield "python_pickle_2", archive(pickle.dumps({"a": Payload()}, 2), raw=True)
    yield "python_pickle_5", archive(pickle.dumps({"a": Payload()}, 5), raw=True)
    yield "bare_pickle", pickle.dumps({"a": Payload()}, 2)
    yield "storage_called", state(called("torch", "FloatStorage", whole(4)))
    yield "scripted_called", archive(mapping(a=called("__torch__", "Net", command)), scripted=True)
    yield "scripted_with_os", archive(record(state=mapping(a=called("os", "system", command))), scripted=True)


def instructions() -> Iterator[tuple[str, bytes]]:
    """Every instruction there could be, the ones of other protocols by their own names."""
    command = text(f"touch {CANARY}")
    for code in range(256):
        if bytes([code]) not in b"N\x88\x89KMJGXc(])}.":  # those stand for values or end the pickle
            yield f"lone_{code:02x}", archive(bytes([code]) + bytes(16))
    values = {
        "inst": b"(" + command + b"ios\nsystem\n", "obj": b"(" + name("os", "system") + command + b"o",
        "ext1": b"\x82\x01)R", "ext2": b"\x83\x01\x00)R", "ext4": b"\x84\x01\0\0\0)R",
        "stack_global": b"\x8c\x02os\x8c\x06system\x93" + items(command) + b"R",
        "new_ex": name("__torch__", "Net") + b")}\x92", "persid": b"P0\n", "set": b"\x8f", "frozenset": b"(\x91",
        "bytes": b"B\x01\0\0\0a", "bytearray": b"\x96\x01\0\0\0\0\0\0\0a", "buffer": b"\x97",
        "long4": b"\x8b\xff\xff\xff\x7f",
        "long1_wide": b"\x8a\xff" + bytes(255), "old_int": b"I1\n", "old_text": b"S'a'\n",
        "old_long": b"L" + b"9" * 9999 + b"L\n",
        "huge_text": b"X\xff\xff\xff\xff", "bad_text": b"X\x02\0\0\0\xff\xfe",
        "frame": b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        "build_name": name("__torch__", "Net") + b"}b", "build_tensor": tensor() + mapping(a=b"N") + b"b",
        "build_slots": name("__torch__", "Net") + b")\x81" + items(b"N", mapping(a=b"N")) + b"b",
        "build_twice": record(state=mapping(a=b"N")) + mapping(a=tensor()) + b"b",
        "reduce_text": command + b")R", "reduce_list": name("collections", "OrderedDict") + b"]R",
        "new_with_arguments": name("__torch__", "Net") + items(command) + b"\x81", "append_to_tuple": b")Na",
        "items_of_list": b"](NNu", "odd_items": b"}(Nu", "list_as_key": b"}(]Nu", "tuple_as_key": b"}()Nu",
        "same_key_twice": b"}(" + text("a") + b"N" + text("a") + b"Nu", "memo_of_nothing": b"h\x07", "ordered_pairs":
        called("collections", "OrderedDict", items(items(text("a"), tensor()))),
    }  # fmt: skip
    for label, value in values.items():
        yield f"instruction_{label}", state(value)
    yield "no_stop", archive(PROTO + mapping(a=tensor()), raw=True)
    yield "two_values", archive(mapping(a=tensor()) + b"N")
    yield "empty_pickle", archive(b"", raw=True)
    yield "protocol_5", archive(b"\x80\x05" + mapping(a=tensor()) + STOP, raw=True)
    yield "protocol_0", archive(mapping(a=tensor()) + STOP, raw=True)


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that would need much memory or time."""
    yield "deep_lists", archive(b"]" * 150_000 + b"a" * 149_999)
    yield "deep_tuples", archive(b")" + b"\x85" * 400_000)
    yield "deep_dicts", state((b"}" + text("a")) * 50_000 + b"N" + b"s" * 50_000)
    yield "wide_stack", archive(b"N" * 400_000)
    yield "many_steps", archive(b"N" + b"q\0" * 600_000)
    yield "memo", archive(b"N" + b"".join(b"r" + struct.pack("<I", i * 4001) for i in range(499_990)))
    yield "long_pickle", archive(text("a" * 1_000_000) * 17)
    doubled = b"]q\0" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(200))
    yield "doubled", archive(doubled)
    yield "ladder", archive(ladder_of(60), scripted=True)
    yield (
        "knot",
        archive(name("__torch__", "N") + b")\x81q\0" + mapping(training=b"N", me=b"h\0") + b"b", scripted=True),
    )
    yield "knot_of_dicts", archive(b"}q\0(" + text("state_dict") + b"h\0u")
    deep = tensor()
    for _ in range(500):
        deep = name("__torch__", "N") + b")\x81" + b"}(" + MODULE + text("a") + deep + b"ub"
    yield "deep_objects", archive(deep, scripted=True)
    shared = b"}(" + text("t0") + tensor() + b"q\5" + b"".join(text(f"t{i}") + b"h\5" for i in range(1, 30_000)) + b"u"
    yield "many_names_of_one_tensor", archive(shared)


def ladder_of(steps: int) -> bytes:
    """Return an object that holds another twice, which holds another twice, and so on: 2 ** steps ways down."""
    inner = tensor() + b"q\0"
    for i in range(steps):
        inner = (
            name("__torch__", "Net")
            + b")\x81"
            + b"}("
            + MODULE
            + text("a")
            + inner
            + text("b")
            + b"h"
            + bytes([i])
            + b"ub"
        )
        inner += b"q" + bytes([i + 1])
    return inner


def numbers() -> Iterator[tuple[str, bytes]]:
    """Tensors that are not where or what they say."""
    big = 2**61
    shapes: dict[str, dict[str, Any]] = {
        "beyond": {"shape": (5,)}, "offset": {"offset": 1}, "offset_huge": {"offset": big},
        "offset_below": {"offset": -1},
        "size_below": {"shape": (-4,)}, "both_below": {"shape": (-2, -2), "strides": (2, 1)},
        "stride_below": {"strides": (-1,), "offset": 3}, "stride_zero": {"strides": (0,)},
        "stride_huge": {"shape": (2,), "strides": (big,)}, "expanded": {"shape": (big,), "strides": (0,)},
        "overlap": {"shape": (2, 3), "strides": (1, 1)}, "huge": {"shape": (big, big), "strides": (1, 1)},
        "product_wraps": {"shape": (2**32, 2**32), "strides": (2**32, 1)},
        "none_but_huge": {"shape": (0, big), "strides": (big, 1)},
        "none_offset": {"shape": (0,), "offset": 99}, "fewer_strides": {"shape": (2, 2), "strides": (1,)},
        "many_axes": {"shape": (1,) * 17, "strides": (1,) * 17}, "not_whole": {"shape": (4,), "inner": b"N"},
        "v3": {"function": "_rebuild_tensor_v3"}, "v1": {"function": "_rebuild_tensor"},
    }  # fmt: skip
    for label, values in shapes.items():
        yield f"tensor_{label}", state(tensor(**values))
    storages: dict[str, bytes] = {
        "more": storage(5), "fewer": storage(3), "huge": storage(big), "below": storage(-1),
        "odd_word": storage(word="view"),
        "wide": storage(kind="DoubleStorage"), "missing": storage(key=text("7")), "up": storage(key=text("../0")),
        "inside": storage(key=text("0/../0")), "pickle": storage(key=text("../data.pkl")),
        "number": storage(key=whole(0)),
        "short": items(text("storage"), text("0")) + b"Q", "text": text("0") + b"Q",
        "os": items(text("storage"), name("os", "system"), text("0"), text("cpu"), whole(4)) + b"Q",
        "function": items(text("storage"), name("collections", "OrderedDict"), text("0"), text("cpu"), whole(4)) + b"Q",
    }  # fmt: skip
    for label, value in storages.items():
        yield f"storage_{label}", state(tensor(inner=value))
    two = tensor() + text("b") + tensor(inner=storage(kind="IntStorage"))
    yield "two_kinds", archive(b"}(" + text("a") + two + b"u")
    yield "truth_values", archive(mapping(a=tensor(inner=storage(16, "BoolStorage"))))
    yield (
        "real_size",
        state(called("torch._utils", "_rebuild_tensor_v2", storage(), b"G" + bytes(8), items(), items(), b"N", b"N")),
    )
    yield "tensor_is_text", state(called("torch._utils", "_rebuild_parameter", text("a"), b"\x89", b"N"))
    yield "name_with_newline", archive(b"}" + text("a\n\x1b[31m") + tensor() + b"s")
    yield "name_is_number", archive(b"}" + whole(1) + tensor() + b"s")
    yield "name_is_long", archive(b"}" + text("a" * 10_000) + tensor() + b"s")
    yield "code_but_a_dictionary", archive(mapping(a=tensor()), scripted=True)
    yield "object_but_no_code", archive(record(state=mapping(a=tensor())))
    yield "byte_order", archive(mapping(a=tensor()), byteorder=b"middle")
    yield "byte_order_huge", archive(mapping(a=tensor()), byteorder=b"little" * 99)
    yield "only_text", archive(text("hello"))


def zips() -> Iterator[tuple[str, bytes]]:
    """Zip files that tell two stories."""
    good = state(tensor())
    at, directory = good.index(b"PK\5\6"), good.index(b"PK\1\2")
    first_name = directory + 46
    for label, path in {
        "up": "x/../../evil", "root": "/etc/passwd", "drive": "C:/evil", "back": "x\\..\\evil", "dot": "x/./evil",
        "two": "x//evil",
        "long": "x/" + "a" * 600, "control": "x/\x1b[31m", "other_top": "y/data/0", "up_only": "..",
    }.items():  # fmt: skip
        yield f"path_{label}", zipped(lambda z, path=path: z.writestr(info(path), b""))
    yield "path_nul", good.replace(b"x/data/0", b"x/data\0" + b"0")
    yield "folder_with_bytes", zipped(lambda z: z.writestr(info("x/folder/"), b"abc"))
    yield (
        "link",
        zipped(lambda z: z.writestr(info("x/link", external_attr=0o120777 << 16, create_system=3), b"/etc/passwd")),
    )
    yield "encrypted", patched(patched(good, directory + 8, "<H", 1), 6, "<H", 1)
    yield "method", patched(patched(good, directory + 10, "<H", 93), 8, "<H", 93)
    yield "twice", good[:at].replace(b"x/data/0", b"x/data.p") + good[at:]
    yield "same_name", duplicate(good)
    yield "overlap", patched(good, good.index(b"PK\1\2", directory + 1) + 42, "<I", 0)
    yield "header_beyond", patched(good, directory + 42, "<I", 2**31)
    yield "size_in_directory", patched(good, directory + 24, "<I", 2)
    yield "both_sizes_in_directory", patched(patched(good, directory + 24, "<I", 2), directory + 20, "<I", 2)
    yield "size_before_member", patched(good, 22, "<I", 2)
    yield "checksum_before_member", patched(good, 14, "<I", 2)
    yield "checksum_both", patched(patched(good, 14, "<I", 2), directory + 16, "<I", 2)
    yield "name_before_member", patched(good, 30, "<B", ord("y"))
    yield "extra_before_member", patched(good, 28, "<H", 60_000)
    yield "huge_sizes", patched(patched(good, directory + 24, "<I", 2**32 - 2), directory + 20, "<I", 2**32 - 2)
    yield "declared_large", patched(good, directory + 24, "<I", 2**32 - 2)
    yield "count", patched(patched(good, at + 8, "<H", 9), at + 10, "<H", 9)
    yield "fewer", patched(patched(good, at + 8, "<H", 1), at + 10, "<H", 1)
    yield "disk", patched(good, at + 4, "<H", 1)
    yield "directory_size", patched(good, at + 12, "<I", 10)
    yield "directory_start", patched(good, at + 16, "<I", 0)
    yield "after_the_end", good + b"more"
    yield "comment", patched(good, at + 20, "<H", 4) + b"more"
    yield "before_the_start", b"MZ" + bytes(100) + good
    yield "second_end", good + good[at:]
    yield "two_archives", good + good
    yield "directory_entry_name", patched(good, first_name, "<B", ord("y"))
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, at - directory, directory - 7)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    yield "two_ends_that_differ", good[:at] + wide + good[at:]
    yield "far_end", good[:at] + struct.pack("<4sLQL", b"PK\6\7", 0, 2**63, 1) + good[at:]
    yield "no_pickle", good.replace(b"x/data.pkl", b"x/code.pkl")
    for label, size in {"": 1 << 26, "_small": 1 << 20}.items():
        yield f"deflated_pickle{label}", deflated("x/data.pkl", b"\x80\x02" + b"N" * size)
        yield f"deflated_numbers{label}", deflated("x/data/0", bytes(size))
    yield "many_members", many(70_000)
    yield "members", many(12_000)
    yield "export_of_torch", archive_of({"net/archive_format": b"pt2", "net/data/weights/0": FOUR})
    yield "empty_zip", struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    yield "empty", b""
    yield "short", b"PK"
    yield "text", b"<html><body>Not found</body></html>"


def archive_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for path, data in members.items():
            file.writestr(path, data)
    return out.getvalue()


def duplicate(good: bytes) -> bytes:
    out = io.BytesIO(good)
    with zipfile.ZipFile(out, "a") as file:
        file.NameToInfo.clear()  # so that it does not warn
        file.writestr("x/data.pkl", PROTO + called("os", "system", text(f"touch {CANARY}")) + STOP)
    return out.getvalue()


def deflated(path: str, data: bytes) -> bytes:
    """Return an archive with one member compressed, and its size told truly."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        if path != "x/data.pkl":
            file.writestr(
                "x/data.pkl", PROTO + mapping(a=tensor(inner=storage(len(data) // 4), shape=(len(data) // 4,))) + STOP
            )
        file.writestr(info(path), packer.compress(data) + packer.flush(), compress_type=zipfile.ZIP_STORED)
        entry = file.infolist()[-1]
        entry.compress_type, entry.file_size, entry.CRC = 8, len(data), zlib.crc32(data)
    # The directory now tells the truth; so must the words before the member.
    done, at = bytearray(out.getvalue()), entry.header_offset
    struct.pack_into("<H", done, at + 8, 8)
    struct.pack_into("<I", done, at + 14, entry.CRC)
    struct.pack_into("<I", done, at + 22, entry.file_size)
    return bytes(done)


def many(count: int) -> bytes:
    """Return a directory of countless empty members, written by hand because zipfile takes long for them."""
    parts, entries, at = [], [], 0
    for i in range(count):
        path = b"x/%d" % i
        parts.append(struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, len(path), 0) + path)
        entries.append(
            struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(path), 0, 0, 0, 0, 0, at) + path
        )
        at += len(parts[-1])
    directory = b"".join(entries)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, at + len(directory), 1)
    short = min(count, 0xFFFF)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, short, short, len(directory), at, 0)
    return b"".join(parts) + directory + wide + end


def fine() -> Iterator[tuple[str, bytes]]:
    """What looks odd but is only weights, and the proof that the corpus fails for its tricks alone."""
    yield "fine_state", state(tensor())
    yield "fine_object", archive(record(state=mapping(a=tensor())), scripted=True)
    out = bytearray(archive(record(state=mapping(a=tensor())), scripted=True))
    out[out.index(b"import os")] ^= 1  # its checksum is wrong, which nobody notices who does not read it
    yield "fine_object_with_unread_code", bytes(out)
    yield "fine_members", many_and_good()


def many_and_good() -> bytes:
    def add(file: zipfile.ZipFile) -> None:
        for i in range(2000):
            file.writestr(f"x/data/n{i}", b"")

    return zipped(add)


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of every file."""
    for part in (fine, names, instructions, bombs, numbers, zips):
        yield from part()


def safetensors() -> Iterator[tuple[str, bytes]]:
    """The same for our own format; its reader is the safetensors library behind a check of the header."""

    def made(header: Any, body: bytes = FOUR, length: int | None = None) -> bytes:
        data = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(data) if length is None else length) + data + body

    card = {"__metadata__": {"card": json.dumps({"name": "x"})}}
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield "header_huge", made(b"{}", length=2**62)
    yield "header_beyond", made(b"{}", length=999)
    yield "header_list", made([1])
    yield "header_deep", made(b"[" * 100_000)
    yield "overlap", made({**card, "a": one, "b": one})
    yield "beyond", made({**card, "a": {**one, "data_offsets": [0, 1 << 40]}})
    yield "shape_wraps", made({**card, "a": {**one, "shape": [2**32, 2**32]}})
    yield "shape_below", made({**card, "a": {**one, "shape": [-4]}})
    yield "hole", made({**card, "a": {**one, "data_offsets": [4, 16], "shape": [3]}})
    twice = json.dumps({**card, "a": one})[:-1] + ', "a": ' + json.dumps({**one, "dtype": "I32"}) + "}"
    yield "name_twice", made(twice.encode())
    yield "kind", made({**card, "a": {**one, "dtype": "PICKLE"}})
    yield "after_the_end", made({**card, "a": one}, FOUR * 2)
    yield "card_is_code", made({"__metadata__": {"card": "__import__('os').system('touch canary.txt')"}, "a": one})
