"""Members of a zip file, read with a suspicious eye: nothing is extracted, every size is checked before it is used.

Stricter than the format on purpose. A zip file tells its names and sizes twice, in a directory at its end and before
each member, and readers that believe different copies see different files. Here both must agree, members may not
overlap, and nothing may stand before, between or after the parts.
"""

from __future__ import annotations

import io
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mitonb.errors import CorruptFileError, ModelError, TooLargeError, UnsafeFileError
from mitonb.models.spec import printable

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Members"]

MOST_MEMBERS = 10_000
MOST_DIRECTORY = 4 << 20  # bytes
LARGEST_FILE = 4 << 30
LONGEST_NAME = 512
LARGEST_RATIO = 4  # declared bytes of all members per byte of the file; weights do not compress

STORED, DEFLATED = 0, 8
ENCRYPTED = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 13  # and patched, and masked
SIZES_FOLLOW = 1 << 3

END, END_64, LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
ENTRY, LOCAL = b"PK\1\2", b"PK\3\4"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the directory: where its bytes stand and what they must be."""

    name: str
    method: int
    flags: int
    crc: int
    stored: int  # bytes in the file
    size: int  # bytes when unpacked
    header: int  # offset of its local header


class Members:
    """An open zip file.

    Parameters
    ----------
    path : path
        The file.
    inside : bytes, optional
        Read these bytes instead, which stood in the file: one archive within another.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of each member, unpacked, by name; folders are left out.

    Raises
    ------
    ModelError
        If there is no such file.
    TooLargeError, CorruptFileError, UnsafeFileError
        If the file is too large, damaged, or uses a trick.
    """

    def __init__(self, path: str | Path, inside: bytes | bytearray | None = None) -> None:
        self.path = Path(path)
        if inside is None and not self.path.is_file():
            raise ModelError(f"There is no weight file {printable(str(path))}.")
        self._file: BinaryIO = self.path.open("rb") if inside is None else io.BytesIO(inside)
        try:
            self._length = self._file.seek(0, 2)
            if self._length > LARGEST_FILE:
                raise TooLargeError(f"{self._what} has {self._length >> 20} MB; at most {LARGEST_FILE >> 20} are read.")
            start, size, count = self._find_directory()
            entries = self._read_directory(self._bytes(start, size), count)
            self._bounds = self._check(entries, start)
        except BaseException:
            self._file.close()
            raise
        self._members = {m.name: m for m in entries if not m.name.endswith("/")}
        self.sizes = {name: m.size for name, m in self._members.items()}

    def __enter__(self) -> Members:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def _what(self) -> str:
        return printable(self.path.name)

    def read(self, name: str, *, most: int, packed: bool = False) -> bytearray:
        """Return the bytes of a member.

        Parameters
        ----------
        name : str
            One of `sizes`.
        most : int
            Refuse more bytes than this.
        packed : bool
            Also read deflated members; else they must be stored as they are.

        Raises
        ------
        TooLargeError, UnsafeFileError, CorruptFileError
            If it is larger, packed, or its checksum is wrong.
        """
        member = self._members[name]
        if member.size > most:
            raise TooLargeError(
                f"{self._what}: {printable(name)} declares {member.size} bytes; at most {most} fit here."
            )
        if member.method == DEFLATED and not packed:
            raise UnsafeFileError(f"{self._what}: {printable(name)} is compressed. PyTorch stores weights as they are.")
        raw = self._bytes(self._data_start(member), member.stored)
        data = raw if member.method == STORED else self._inflated(member, raw)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise CorruptFileError(f"{self._what}: the checksum of {printable(name)} is wrong. Fetch the file again.")
        return data

    # ------------------------------------------------------------------------------------------------ the directory

    def _bytes(self, start: int, count: int) -> bytearray:
        """Return exactly so many bytes from a place in the file."""
        if not (0 <= start and 0 <= count and start + count <= self._length):
            raise CorruptFileError(f"{self._what} is truncated or damaged: it points beyond its end. Fetch it again.")
        self._file.seek(start)
        data = bytearray(count)
        if self._file.readinto(data) != count:  # type: ignore[attr-defined]
            raise CorruptFileError(f"{self._what} became shorter while it was read. Fetch it again.")
        return data

    def _find_directory(self) -> tuple[int, int, int]:
        """Return where the directory starts, its bytes and its number of entries."""
        if self._length < 22 or self._bytes(self._length - 22, 4) != END:
            raise CorruptFileError(
                f"{self._what} is not an archive of weights, is truncated, or has something after its end. "
                "Fetch it again."
            )
        end = self._length - 22
        _, disk, first, here, count, size, start, comment = struct.unpack("<4s4H2LH", self._bytes(end, 22))
        if end >= 20 and self._bytes(end - 20, 4) == LOCATOR_64:
            end, count, size, start = self._find_directory_64(end - 20, (count, size, start))
        elif disk or first or here != count:
            raise UnsafeFileError(f"{self._what} says that it is one of several disks. It must be one complete file.")
        if comment or start + size != end:
            raise UnsafeFileError(f"{self._what} hides bytes between its parts or after its end. Fetch it again.")
        if count > MOST_MEMBERS or size > MOST_DIRECTORY:
            raise TooLargeError(f"{self._what} lists {count} members in {size} bytes; at most {MOST_MEMBERS} are read.")
        return start, size, count

    def _find_directory_64(self, locator: int, short: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """Return where the large form of the end stands, and the entries, bytes and start that it tells."""
        _, disk, end, disks = struct.unpack("<4sLQL", self._bytes(locator, 20))
        if disk or disks > 1 or end + 56 != locator:
            raise UnsafeFileError(f"{self._what} has a second end of its directory that does not fit the first.")
        sign, length, _, _, *rest = struct.unpack("<4sQ2H2L4Q", self._bytes(end, 56))
        disk, first, here, count, size, start = rest
        told = zip(short, (count, size, start), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True)
        agree = all(small in (large, limit) for small, large, limit in told)
        if sign != END_64 or length != 44 or disk or first or here != count or not agree:
            raise UnsafeFileError(f"{self._what} tells two different directories. Fetch it again.")
        return end, count, size, start

    def _read_directory(self, data: bytearray, count: int) -> list[Member]:
        entries, at = [], 0
        for _ in range(count):
            if at + 46 > len(data) or data[at : at + 4] != ENTRY:
                raise CorruptFileError(f"{self._what} has a damaged directory. Fetch it again.")
            _, _, _, flags, method, _, _, crc, stored, size, n, extra, note, disk, _, mode, header = struct.unpack(
                "<4s6H3L5H2L", data[at : at + 46]
            )
            name = self._name(bytes(data[at + 46 : at + 46 + n]))
            more = bytes(data[at + 46 + n : at + 46 + n + extra])
            size, stored, header = self._large(more, (size, stored, header))
            at += 46 + n + extra + note
            if disk or flags & ENCRYPTED or method not in (STORED, DEFLATED):
                raise UnsafeFileError(f"{self._what}: {printable(name)} is encrypted or packed in an unknown way.")
            if stat.S_ISLNK(mode >> 16) or (name.endswith("/") and size):
                raise UnsafeFileError(f"{self._what}: {printable(name)} is a link, or not a plain file.")
            entries.append(Member(name, method, flags, crc, stored, size, header))
        if at != len(data):
            raise CorruptFileError(f"{self._what} has a damaged directory. Fetch it again.")
        return entries

    def _name(self, raw: bytes) -> str:
        """Return a member's name if it is a plain path below the archive."""
        text = raw.decode("utf-8", errors="replace")
        parts = text.removesuffix("/").split("/")
        plain = text.isprintable() and "\\" not in text and ":" not in text and "�" not in text
        if not raw or len(raw) > LONGEST_NAME or not plain or any(part in ("", ".", "..") for part in parts):
            raise UnsafeFileError(
                f"{self._what} holds a member with the name {printable(text)}, which is not a plain path."
            )
        return text

    def _large(self, extra: bytes, short: tuple[int, ...]) -> list[int]:
        """Return size, stored size and offset, from the large form where the short one is full."""
        values, at = list(short), 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                wide = [i for i, value in enumerate(short) if value == 0xFFFFFFFF]
                if at + 4 + length > len(extra) or length < 8 * len(wide):
                    raise CorruptFileError(f"{self._what} has a damaged directory. Fetch it again.")
                for number, i in enumerate(wide):
                    values[i] = struct.unpack_from("<Q", extra, at + 4 + 8 * number)[0]
                return values
            at += 4 + length
        return values

    # -------------------------------------------------------------------------------------------------- the members

    def _check(self, entries: list[Member], directory: int) -> dict[str, int]:
        """Return where each member must have ended; refuse doubled names, overlaps and sizes that cannot be."""
        names = {m.name for m in entries}
        if len(names) != len(entries):
            raise UnsafeFileError(f"{self._what} holds two members of the same name.")
        total = sum(m.size for m in entries)
        if total > LARGEST_RATIO * self._length + (1 << 20):
            raise UnsafeFileError(
                f"{self._what} has {self._length} bytes, but declares {total}: made to exhaust the memory."
            )
        ordered = sorted(entries, key=lambda m: m.header)
        bounds = [*(m.header for m in ordered), directory][1:]
        for member, bound in zip(ordered, bounds, strict=True):
            if member.method == STORED and member.stored != member.size:
                raise CorruptFileError(f"{self._what}: {printable(member.name)} has two different sizes.")
            if member.header + 30 + len(member.name.encode()) + member.stored > bound:
                raise UnsafeFileError(f"{self._what}: {printable(member.name)} overlaps what comes after it.")
        return {m.name: bound for m, bound in zip(ordered, bounds, strict=True)}

    def _data_start(self, member: Member) -> int:
        """Return where a member's bytes start; what is told before them must be what the directory tells."""
        head = struct.unpack("<4s5H3L2H", self._bytes(member.header, 30))
        sign, _, flags, method, _, _, crc, stored, size, n, extra = head
        name = bytes(self._bytes(member.header + 30, n))
        start: int = member.header + 30 + n + extra
        told = self._large(bytes(self._bytes(start - extra, extra)), (size, stored))
        late = bool(flags & SIZES_FOLLOW) and (crc, size, stored) == (0, 0, 0)
        same = (flags, method, name) == (member.flags, member.method, member.name.encode())
        if sign != LOCAL or not same or not (late or (crc, *told) == (member.crc, member.size, member.stored)):
            raise UnsafeFileError(f"{self._what} tells two different things about {printable(member.name)}.")
        if start + member.stored > self._bounds[member.name]:
            raise UnsafeFileError(f"{self._what}: {printable(member.name)} overlaps what comes after it.")
        return start

    def _inflated(self, member: Member, raw: bytearray) -> bytearray:
        """Unpack a member, never beyond the size that it declares."""
        unpacker = zlib.decompressobj(-15)
        try:
            data = bytearray(unpacker.decompress(raw, member.size + 1))
        except zlib.error as error:
            raise CorruptFileError(f"{self._what}: {printable(member.name)} is damaged: {error}.") from error
        return data
