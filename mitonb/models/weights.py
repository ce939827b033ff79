"""Weight files: safetensors with the model card inside, and the tensors of files of PyTorch, whose code is never run.

TorchScript archives and checkpoints are zip files with a pickle and the raw numbers. Names and sizes in the zip are
checked before anything is read. The pickle is read by Python's own reader with most of it taken away: it knows the few
instructions that PyTorch writes for weights, and the few names of `NAMES`, which stand for functions of this module.
A tensor is made once its shape and strides agree with the numbers that are there. The code of a TorchScript archive is
not even decompressed.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mitonb.errors import CorruptFileError, MitonbError, ModelError, TooLargeError, UnsafeFileError, UntrustedModelError
from mitonb.files import atomic_write
from mitonb.models.spec import ModelSpec, printable

LARGEST_FILE = 4 << 30  # bytes
LARGEST_HEADER = 1 << 20  # of safetensors; ours has about ten thousand
LARGEST_PICKLE = 2 << 20  # a checkpoint with its optimizer has about half of one million
MOST_MEMBERS = 10_000
LARGEST_DIRECTORY = 4 << 20  # of a zip file; one member takes about a hundred bytes there, and a thousand in memory
MOST_TENSORS = 20_000
MOST_VISITS = 200_000  # while looking for tensors
LARGEST_RATIO = 4  # declared bytes per byte of the file; weights do not compress
RESAVE = "Save only its state dict, torch.save(net.state_dict(), ...), or as safetensors, where you trust it."


# ------------------------------------------------------------------------------------------------------ safetensors


def write_weights(net: nn.Module, spec: ModelSpec, path: str | Path, *, half: bool = True) -> ModelSpec:
    """Write a net and its card; the file appears whole or not at all.

    Parameters
    ----------
    net : nn.Module
        Its state is written.
    spec : ModelSpec
        Card; the file holds it without hash.
    path : path
        Replaced if it exists.
    half : bool
        Store float16: half the size, about three digits.

    Returns
    -------
    ModelSpec
        The card with the file's hash.
    """
    kind = torch.float16 if half else torch.float32
    tensors = {
        # copies: a block that stands under several names is written under each of them
        name: t.to("cpu", kind if t.is_floating_point() else t.dtype, copy=True).contiguous()
        for name, t in net.state_dict().items()
    }
    if wild := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
        raise ModelError(f"{wild[0]} holds numbers that are not finite. The training has diverged; lower its rate.")
    data = save_tensors(tensors, {"card": dataclasses.replace(spec, sha256="").to_json()})
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(data)
    return dataclasses.replace(spec, sha256=hashlib.sha256(data).hexdigest())


def read_weights(data: bytes, *, where: str) -> tuple[dict[str, Tensor], ModelSpec | None]:
    """Read the tensors of a safetensors file, and its card with the hash of the file; None if it holds no card.

    Raises
    ------
    CorruptFileError
        If it is damaged or truncated.
    ModelError
        If its card is none.
    """
    card = card_in(data, where=where)  # the header is looked at before the library sees it
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{where} is damaged: {error}. Fetch or train the model again.") from error
    return tensors, card and dataclasses.replace(card, sha256=hashlib.sha256(data).hexdigest())


def card_in(data: bytes, *, where: str) -> ModelSpec | None:
    """Return the card inside a safetensors file, None if it holds none; see `read_weights`."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(LARGEST_HEADER, len(data) - 8):
        raise CorruptFileError(f"{where} is not a safetensors file, or is truncated. Fetch or train the model again.")
    try:
        card = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get("card")
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{where} has a damaged header: {error}. Fetch or train the model again.") from error
    return None if card is None else ModelSpec.from_json(card, where=where)


def read_bytes(path: Path) -> bytes:
    """Return what a weight file holds.

    Raises
    ------
    ModelError
        If there is no such file, or it is larger than any weights.
    """
    if not path.is_file():
        raise ModelError(f"There is no weight file {path}.")
    if path.stat().st_size > LARGEST_FILE:
        raise TooLargeError(f"{path} has {path.stat().st_size >> 20} MB; at most {LARGEST_FILE >> 20} are read.")
    return path.read_bytes()


def fill(net: nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Put tensors into a net, every one and no other; room for a net that was built without numbers is made then.

    Raises
    ------
    ModelError
        If a name or shape does not fit, or a number is not finite.
    """
    own = net.state_dict()
    # Counts of batches change nothing, and old files have none.
    counts = {name: torch.zeros((), dtype=torch.long) for name in own if name.endswith("num_batches_tracked")}
    if wild := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
        raise ModelError(f"{where}: the numbers of {wild[0]} are not finite. Fetch, export or train it again.")
    kinds = {name: own.get(name, t).dtype for name, t in tensors.items()}
    try:
        net.load_state_dict(counts | {n: t.to(kinds[n], copy=True) for n, t in tensors.items()}, assign=True)
    except RuntimeError as error:
        said = printable(" ".join(str(error).split()), 400)
        raise ModelError(
            f"{where}: {said} Is it damaged, or a variant with other options? Fetch, export or train it again."
        ) from error


# -------------------------------------------------------------------------------------------------------- zip files


@contextlib.contextmanager
def open_zip(source: Path | bytes | bytearray, where: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file to read members of it; nothing is extracted, and all names and sizes are checked first.

    Parameters
    ----------
    source : path or bytes
        The file, or what it holds.
    where : str
        File for messages.

    Raises
    ------
    ModelError
        If there is no such file.
    TooLargeError, CorruptFileError, UnsafeFileError
        If it is too large, damaged, or made to exhaust the memory.
    """
    if isinstance(source, Path) and not source.is_file():
        raise ModelError(f"There is no weight file {printable(str(source))}.")
    length = source.stat().st_size if isinstance(source, Path) else len(source)
    if length > LARGEST_FILE:
        raise TooLargeError(f"{where} has {length >> 20} MB; at most {LARGEST_FILE >> 20} are read.")
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
            end: Any = zipfile._EndRecData(stream)  # type: ignore[attr-defined]  # the library's own search for it
            if end and end[zipfile._ECD_SIZE] > LARGEST_DIRECTORY:  # type: ignore[attr-defined]
                raise TooLargeError(f"{where} lists too many members; at most {MOST_MEMBERS} are read.")
        with zipfile.ZipFile(source if isinstance(source, Path) else io.BytesIO(source)) as file:
            _check_members(file.infolist(), length, where)
            yield file
    except MitonbError:
        raise
    except Exception as error:  # the library raises whatever a damaged file makes it stumble over
        said = printable(f"{type(error).__name__}: {error}")
        raise CorruptFileError(f"{where} is truncated, damaged, or no archive ({said}). Fetch it again.") from error


def _check_members(members: list[zipfile.ZipInfo], length: int, where: str) -> None:
    """Refuse too many members, names that are no plain paths or stand there twice, and sizes that cannot be."""
    if len(members) > MOST_MEMBERS:
        raise TooLargeError(f"{where} lists {len(members)} members; at most {MOST_MEMBERS} are read.")
    for member in members:
        name, parts = member.orig_filename, member.orig_filename.removesuffix("/").split("/")
        plain = name.isprintable() and len(name) <= 512 and not set(name) & set("\\:")
        if not plain or any(part in ("", ".", "..") for part in parts):
            raise UnsafeFileError(f"{where} holds a member {printable(name)!r}, which is not a plain path.")
        # Other ways of packing unpack a member in one go, however large it gets.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsafeFileError(f"{where}: {name} is packed in a way that models are not. Pack it again as usual.")
        if member.flag_bits & 1 or member.header_offset + member.compress_size > length:
            raise UnsafeFileError(f"{where}: {name} is encrypted, or points beyond the end of the file.")
    if len({member.filename for member in members}) != len(members):
        raise UnsafeFileError(f"{where} holds two members of the same name.")
    total = sum(member.file_size for member in members)
    if total > LARGEST_RATIO * length + (1 << 20):
        raise UnsafeFileError(f"{where} has {length} bytes, but declares {total}: made to exhaust the memory.")


def read_member(file: zipfile.ZipFile, name: str, *, where: str, most: int, packed: bool = False) -> bytes:
    """Return the bytes of a member.

    Parameters
    ----------
    file : ZipFile
        From `open_zip`.
    name : str
        One of its names.
    where : str
        File for messages.
    most : int
        Refuse more bytes than this.
    packed : bool
        Also read compressed members; else they must be stored as they are.

    Raises
    ------
    TooLargeError, UnsafeFileError
        If it is larger, or compressed. A wrong checksum is an error of `open_zip`.
    """
    member = file.getinfo(name)
    if member.file_size > most:
        raise TooLargeError(f"{where}: {name} declares {member.file_size} bytes; at most {most} fit here.")
    if not packed and (member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size):
        raise UnsafeFileError(f"{where}: {name} is compressed. PyTorch stores weights as they are.")
    # With a number the library unpacks no more than that; without, all that a member holds, whatever it declares.
    with file.open(member) as stream:
        data = stream.read(member.file_size)
        stream.read(1)  # reaches the end, where the checksum is looked at
    if len(data) != member.file_size:
        raise CorruptFileError(f"{where}: {name} has {len(data)} bytes, but declares {member.file_size}.")
    return data


# ---------------------------------------------------------------------------------------------------------- pickles


@dataclass(eq=False)
class Record:
    """An object of a TorchScript archive: the name of its class, which is never looked for, and its attributes."""

    kind: str
    attributes: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Numbers:
    """The numbers of a storage: their member of the archive, their kind and how many; once read, themselves."""

    name: str
    dtype: torch.dtype
    count: int
    flat: Tensor | None = None


@dataclass(eq=False)
class Stored:
    """A tensor that is not read yet."""

    numbers: Numbers
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class ScriptedClass(str):
    """The name of a class whose code is in the archive and stays there unread."""

    __slots__ = ()


def _empty(*pairs: Any) -> dict[Any, Any]:
    _need(not pairs)
    return {}


def _first(value: Any, *_: Any) -> Any:
    _need(isinstance(value, Stored | list | dict | str))
    return value


def _need(fits: bool) -> None:
    if not fits:
        raise ValueError("an argument is not what it must be")


NAMES: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _empty,
    **dict.fromkeys(
        (
            "torch._utils._rebuild_parameter", "torch.device", "torch.jit._pickle.build_intlist",
            "torch.jit._pickle.build_doublelist", "torch.jit._pickle.build_boollist",
            "torch.jit._pickle.build_tensorlist", "torch.jit._pickle.restore_type_tag",
        ),
        _first,
    ),
}  # fmt: skip
"""Functions that a pickle of weights may name, and those of this module that they stand for; see also `find_class`."""

NUMBERS = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}  # fmt: skip
"""Kinds of numbers that are read."""

SCRIPTED = re.compile(r"__torch__(\.\w+)*", re.ASCII)
QUANTISED = re.compile(r"torch\._utils\._rebuild_qtensor|torch\.Q\w+Storage|__torch__\.torch\.classes\.quantized\..*")
INSTRUCTIONS = b"NKMJGX()t]}aesuqrhjcRbQ.\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95"
"""Constants, texts, lists, tuples, dictionaries, the memo, names, calls, and the numbers in the archive."""


class WeightsUnpickler(pickle._Unpickler):  # the one in C has no list of instructions
    """Python's reader of pickles without the instructions and names that weights do not need.

    Parameters
    ----------
    file : ZipFile
        An archive of PyTorch, from `open_zip`.
    top : str
        Its only folder.
    where : str
        File for messages.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Any]] = {code: pickle._Unpickler.dispatch[code] for code in INSTRUCTIONS}

    def __init__(self, file: zipfile.ZipFile, top: str, where: str) -> None:
        super().__init__(io.BytesIO(read_member(file, f"{top}/data.pkl", where=where, most=LARGEST_PICKLE)))
        self.file, self.top, self.where = file, top, where
        self.known: dict[str, Numbers] = {}
        self.made = 0

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for here; nothing is imported."""
        text = f"{module}.{name}"
        if QUANTISED.fullmatch(text):
            raise UntrustedModelError(f"{self.where} holds quantised weights, which only its own code can run.")
        if SCRIPTED.fullmatch(text):
            return ScriptedClass(text)
        known = {**NAMES, **NUMBERS, "torch._utils._rebuild_tensor_v2": self.tensor}
        if text not in known:
            raise UnsafeFileError(
                f"{self.where} asks for {printable(text)}. A file of weights may only hold tensors, so nothing of it "
                f"was run or loaded. {RESAVE}"
            )
        return known[text]

    def persistent_load(self, pid: Any) -> Numbers:
        """Return where in the archive the numbers of a storage are; none is read yet."""
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), _, int(count)):
                name = f"{self.top}/data/{key}"
            case _:
                raise ValueError("numbers are told in another way")
        if not key.isalnum() or name not in self.file.NameToInfo:
            raise CorruptFileError(f"{self.where} lacks the numbers {printable(key)!r}. Fetch it again.")
        size, known = self.file.getinfo(name).file_size, self.known.setdefault(name, Numbers(name, dtype, count))
        if count * dtype.itemsize != size or (known.dtype, known.count) != (dtype, count):
            raise UnsafeFileError(f"{self.where}: {name} has {size} bytes, not {count} of {dtype}, or two kinds.")
        return known

    def tensor(self, numbers: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Stored:
        """Return a view of numbers after checking that it stays within them."""
        _need(isinstance(numbers, Numbers) and isinstance(shape, tuple) and isinstance(strides, tuple))
        whole = [offset, *shape, *strides]
        _need(len(whole) < 32 and all(type(v) is int for v in whole))
        self.made += 1
        if self.made > MOST_TENSORS:
            raise TooLargeError(f"{self.where} has more tensors than any network.")
        count, most = math.prod(shape), numbers.count
        fits = len(shape) == len(strides) and min(whole) >= 0 and count <= most and max(*whole, 0) <= max(most, 1)
        if not fits or (count and offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) >= most):
            raise UnsafeFileError(f"{self.where}: a tensor of {shape}, strides {strides} has only {most} numbers.")
        return Stored(numbers, offset, shape, strides)

    def read_tensor(self, stored: Stored) -> Tensor:
        """Return a tensor; of the states of an optimizer, which nobody asks for, nothing is read."""
        numbers = stored.numbers
        if numbers.flat is None:
            size = numbers.count * numbers.dtype.itemsize
            data = bytearray(read_member(self.file, numbers.name, where=self.where, most=size))
            if numbers.dtype == torch.bool and max(data, default=0) > 1:
                raise CorruptFileError(f"{self.where} holds truth values that are neither 0 nor 1. Fetch it again.")
            empty = torch.empty(0, dtype=numbers.dtype)
            numbers.flat = torch.frombuffer(data, dtype=numbers.dtype) if data else empty
        if not math.prod(stored.shape):
            return numbers.flat.new_empty(stored.shape)
        return numbers.flat.as_strided(stored.shape, stored.strides, stored.offset)

    def load_setitems(self) -> None:
        """Put items into a dictionary."""
        self._put(self.pop_mark())

    def load_setitem(self) -> None:
        """Put one item into a dictionary."""
        self._put([self.stack.pop(), self.stack.pop()][::-1])

    def _put(self, items: list[Any]) -> None:
        # Only texts and whole numbers are keys: a tuple of tuples of tuples would hash without end.
        _need(type(self.stack[-1]) is dict and all(isinstance(key, str | int) for key in items[::2]))
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_newobj(self) -> None:
        """Make an object of a class of TorchScript."""
        arguments, kind = self.stack.pop(), self.stack.pop()
        _need(arguments == () and isinstance(kind, ScriptedClass))
        self.append(Record(str(kind)))

    def load_build(self) -> None:
        """Give an object its attributes; those of a dictionary are versions of modules, which nobody needs."""
        state, target = self.stack.pop(), self.stack[-1]
        _need(type(state) is dict and (type(target) is dict or (isinstance(target, Record) and not target.attributes)))
        if isinstance(target, Record):
            target.attributes = state

    dispatch |= {ord("u"): load_setitems, ord("s"): load_setitem, 0x81: load_newobj, ord("b"): load_build}


# --------------------------------------------------------------------------------------------------------- archives


@dataclass(frozen=True, eq=False)
class Archive:
    """What a file of weights holds.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By their dotted names, as in a state dict.
    norms : object
        What a checkpoint says under that name, unchecked.
    """

    tensors: dict[str, Tensor]
    norms: Any = None


def read_archive(path: str | Path, inside: bytes | bytearray | None = None) -> Archive:
    """Read what a TorchScript archive (.pt, .pth) or a PyTorch checkpoint (.pth, .pth.tar) holds; run nothing of it.

    Parameters
    ----------
    path : path
        A file that `torch.save` (PyTorch 1.6 or later) or `torch.jit.save` wrote.
    inside : bytes, optional
        Read these bytes instead, which stood in the file.

    Returns
    -------
    Archive
        The tensors are copies on the CPU; those that shared numbers in the file share them here.

    Raises
    ------
    ModelError
        If there is no such file, or it holds no tensors.
    UnsafeFileError
        If it asks for anything but tensors, or plays a trick with names, sizes or places.
    UntrustedModelError
        If its weights are quantised: only its own code can run them.
    CorruptFileError, TooLargeError
        If it is damaged, or larger than the limits of this module.
    """
    where = printable(Path(path).name)
    with open_zip(Path(path) if inside is None else inside, where) as file:
        names = file.namelist()
        top = min(names, default="").partition("/")[0]
        if f"{top}/data.pkl" not in names or not all(name.startswith(f"{top}/") for name in names):
            raise CorruptFileError(f"{where} is a zip file, but not of PyTorch: it has no data.pkl in its only folder.")
        if f"{top}/byteorder" in names and read_member(file, f"{top}/byteorder", where=where, most=16) != b"little":
            raise CorruptFileError(f"{where} does not have its bytes in little order, as usual machines write them.")
        try:
            reader = WeightsUnpickler(file, top, where)
            value = reader.load()
        except MitonbError:
            raise
        except KeyError as error:
            raise UnsafeFileError(f"{where} uses the pickle code {error}, which weights need not. {RESAVE}") from error
        except Exception as error:  # the reader raises whatever it stumbles over
            said = printable(str(error))
            raise CorruptFileError(f"{where} holds a damaged pickle: {said}. Fetch the file again.") from error
        scripted = isinstance(value, Record)
        if scripted != any(name.startswith(f"{top}/code/") for name in names):
            raise UnsafeFileError(f"{where} mixes a TorchScript archive with a checkpoint. Export or fetch it again.")
        found = dict(_named(value if scripted else _state_of(value, where), where))
        if len(found) > MOST_TENSORS:
            raise TooLargeError(f"{where} names {len(found)} tensors; no network has more than {MOST_TENSORS}.")
        tensors = {name: reader.read_tensor(stored) for name, stored in found.items()}
        total, length = sum(t.nbytes for t in tensors.values()), sum(m.file_size for m in file.infolist())
    if not tensors:
        raise ModelError(f"{where} holds no tensors by name. It must be an exported network or a state dict.")
    if total > LARGEST_RATIO * length:
        raise UnsafeFileError(f"{where}: its tensors would need {total >> 20} MB, many times what the file holds.")
    return Archive(tensors, value.get("norms") if isinstance(value, dict) else None)


def _state_of(value: Any, where: str) -> dict[Any, Any]:
    """Return the state dict of a checkpoint, or the value if it is one."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} holds no dictionary of tensors. Save net.state_dict() into it.")
    named = (value.get(key) for key in ("state_dict", "model_state_dict", "model"))
    return next((state for state in named if isinstance(state, dict)), value)


def _named(root: Any, where: str) -> Iterator[tuple[str, Stored]]:
    """Yield the tensors of a dictionary, or of a tree of modules, with their dotted names."""
    visited = 0
    waiting = [("", root)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Stored):
            yield name, value
            continue
        children = value.attributes if isinstance(value, Record) else value
        visited += len(children)
        # The pickle may tie knots: an object may contain itself, or be reached in countless ways.
        if visited > MOST_VISITS or name.count(".") > 64:
            raise TooLargeError(f"{where} is larger than any network, or contains itself. Export or fetch it again.")
        for key, child in reversed(children.items()):
            if isinstance(child, Stored) or (isinstance(child, Record) and _is_module(child)):
                path = f"{name}.{key}" if name else key
                if not (isinstance(key, str) and key.isascii() and key.isprintable() and 0 < len(path) <= 512):
                    raise UnsafeFileError(f"{where} names a tensor {printable(str(path))!r}, not in printable ASCII.")
                waiting.append((path, child))


def _is_module(record: Record) -> bool:
    """Whether an object of an export is a module with weights: no configuration, and nothing that only watches."""
    return "training" in record.attributes and not record.kind.endswith(("Observer", "FakeQuantize"))
