"""Pickles of weights, read as inert data: no name in the file is ever looked up, imported or called.

A pickle is a small program for a stack machine. This one knows the few instructions that PyTorch writes for weights.
What comes out is None, bool, int, float, str, list, tuple, dict, and the records of `mitonb.models.records`, which are
only words about what the file wants: a `Record` where it wants an object, a `TensorRecord` where it wants a tensor. The
single list of names that mean something is `NAMES` there.

Source of the instructions: the comments of Python's `pickletools`; of the tensors: files that PyTorch wrote.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from mitonb.errors import CorruptFileError, TooLargeError, UnsafeFileError, UntrustedModelError
from mitonb.models.records import (
    MARK,
    NAMES,
    QUANTISED,
    SCRIPTED,
    STORAGES,
    Name,
    OddError,
    Record,
    StorageRecord,
    Value,
    need,
)
from mitonb.models.spec import printable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["unpickled"]

MOST_STEPS = 500_000  # the largest published network with its optimizer needs a tenth
MOST_ON_STACK = 200_000
LONGEST_TEXT = 1 << 20


def unpickled(data: bytes | bytearray, *, where: str) -> Value:
    """Read a pickle of weights.

    Parameters
    ----------
    data : bytes
        The whole pickle, of protocol 2 as PyTorch writes it, or of 3 or 4 as it can be told to.
    where : str
        File for messages.

    Returns
    -------
    None, bool, int, float, str, list, tuple, dict, Record or TensorRecord
        What the pickle describes. Containers may contain themselves: walk them with a limit.

    Raises
    ------
    UnsafeFileError
        If it names anything but tensors, or uses an instruction that weights do not need.
    UntrustedModelError
        If it holds quantised weights.
    CorruptFileError, TooLargeError
        If it is damaged, or too long.
    """
    return _Machine(bytes(data), printable(where)).run()


# ------------------------------------------------------------------------------------------------------- the machine


class _Machine:
    """The stack machine; `run` may be called once."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0
        self.stack: list[Value] = []
        self.memo: dict[int, Value] = {}

    def run(self) -> Value:
        if self.data[:2] not in (b"\x80\x02", b"\x80\x03", b"\x80\x04"):
            raise UnsafeFileError(f"{self.where} holds no pickle of protocol 2 to 4, as PyTorch writes them. {RESAVE}")
        self.at = 2
        for _ in range(MOST_STEPS):
            code = self.take(1)[0]
            if code == STOP:
                return self.pop() if len(self.stack) == 1 else self.damaged()
            step = STEPS.get(code)
            if step is None:
                raise UnsafeFileError(
                    f"{self.where} uses the pickle instruction 0x{code:02x}, which weights do not need. {RESAVE}"
                )
            try:
                step(self)
            except (OddError, TypeError, UnicodeDecodeError):
                self.damaged()
            if len(self.stack) > MOST_ON_STACK:
                break
        raise TooLargeError(f"{self.where} holds a pickle of more than {MOST_STEPS} steps. {RESAVE}")

    def damaged(self) -> NoReturn:
        raise CorruptFileError(f"{self.where} holds a damaged pickle (byte {self.at}). Fetch the file again.")

    # the bytes

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            self.damaged()
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 1024)
        if end < 0:
            self.damaged()
        return self.take(end + 1 - self.at)[:-1].decode("ascii")

    # the stack

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def top(self) -> Value:
        if not self.stack or self.stack[-1] is MARK:
            self.damaged()
        return self.stack[-1]

    def pop(self) -> Value:
        value = self.top()
        self.stack.pop()
        return value

    def pop_many(self) -> list[Value]:
        """Return what stands above the last mark."""
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not MARK:
            at -= 1
        if at < 0:
            self.damaged()
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    # the instructions

    def text(self, form: str = "<I") -> None:
        count = self.number(form)
        need(count <= LONGEST_TEXT)
        self.push(self.take(count).decode("utf-8"))

    def small_long(self) -> None:
        count = self.number("<B")
        need(count <= 8)
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def real(self) -> None:
        self.push(struct.unpack(">d", self.take(8))[0])

    def tuple_of(self, count: int) -> None:
        self.push(tuple(self.pop() for _ in range(count))[::-1])

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        need(index in self.memo)
        self.push(self.memo[index])

    def append(self, values: list[Value]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise OddError
        target.extend(values)

    def set_items(self, values: list[Value]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise OddError
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Only these keys: they are hashed here, and a tuple of tuples of tuples would hash without end.
            if not isinstance(key, str | int) or key in target:
                raise OddError
            target[key] = value

    def name(self) -> None:
        self.known(f"{self.line()}.{self.line()}")

    def stacked_name(self) -> None:
        match self.pop(), self.pop():
            case str(attribute), str(module):
                self.known(f"{module}.{attribute}")
            case _:
                raise OddError

    def known(self, text: str) -> None:
        """Take a name from the file; nothing is imported, and only known ones are let through."""
        if QUANTISED.fullmatch(text):
            raise UntrustedModelError(f"{self.where} holds quantised weights, which only its own code can run.")
        if text not in NAMES and text not in STORAGES and not SCRIPTED.fullmatch(text):
            raise UnsafeFileError(
                f"{self.where} asks for {printable(text)}. A file of weights may only hold tensors, "
                f"so nothing of it was run or loaded. {RESAVE}"
            )
        self.push(Name(text))

    def call(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(arguments, tuple) or not isinstance(name, Name) or name.text not in NAMES:
            raise OddError
        self.push(NAMES[name.text](*arguments))

    def new(self) -> None:
        arguments, name = self.pop(), self.pop()
        if arguments != () or not isinstance(name, Name) or not SCRIPTED.fullmatch(name.text):
            raise OddError
        self.push(Record(name.text))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(state, dict) or not isinstance(target, dict | Record):
            raise OddError
        if isinstance(target, Record):
            # Taken over, never copied: one large state given to many objects would fill the memory.
            need(not target.attributes)
            target.attributes = state
        # The state of a dictionary is the versions of modules, which a state dict carries beside its items.

    def storage(self) -> None:
        match self.pop():
            case ("storage", Name(kind), str(key), _, int(count)) if kind in STORAGES and count >= 0:
                self.push(StorageRecord(kind.removeprefix("torch."), key, count))
            case _:
                raise OddError


RESAVE = "Save only its state dict, torch.save(net.state_dict(), ...), or as safetensors, where you trust it."

STOP = ord(".")
STEPS: dict[int, Callable[[_Machine], None]] = {
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: _Machine.small_long,
    ord("G"): _Machine.real,
    ord("X"): _Machine.text,
    0x8C: lambda m: m.text("<B"),
    ord("("): lambda m: m.push(MARK),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_many())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_many()),
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.pop_many()),
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    ord("h"): lambda m: m.get(m.number("<B")),
    ord("j"): lambda m: m.get(m.number("<I")),
    0x94: lambda m: m.put(len(m.memo)),
    0x95: lambda m: need(m.number("<Q") < 1 << 63),  # a frame: how many bytes come, which nothing depends on
    ord("c"): _Machine.name,
    0x93: _Machine.stacked_name,
    ord("R"): _Machine.call,
    0x81: _Machine.new,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.storage,
}
"""Every instruction that is understood."""
