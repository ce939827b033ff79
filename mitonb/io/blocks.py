"""Arrays of tensorstore: the files of the blocks that a read needs are looked at before it opens them."""

import contextlib
import math
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorstore

from mitonb.errors import CorruptFileError, InputError, UnreachableError
from mitonb.io.arrays import CACHE_BYTES, Array, Lazy, Slices, Stamp, blocks_of, changed, native, stamp_of
from mitonb.io.limits import check_block, inside
from mitonb.io.remote import CONTEXT, Remote

MOST_SEEN = 2**15
"""Files of blocks that are remembered at once, which takes some 15 MB."""
Folder = Path | zipfile.Path | Remote
"""Where a store lies: on disk, in a zip file, on the network."""


def leads_out(name: str) -> bool:
    """Return whether a name that a file gives leads out of the folder that it lies in."""
    parts = PurePosixPath(name)
    return parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name


def kvstore_of(folder: Folder) -> dict[str, Any]:
    """Return what tensorstore calls a folder."""
    if isinstance(folder, Remote):
        return folder.spec
    if isinstance(folder, zipfile.Path):
        base = {"driver": "file", "path": str(Path(str(folder.root.filename)).resolve())}
        return {"driver": "zip", "base": base, "path": folder.at}
    return {"driver": "file", "path": f"{folder.resolve()}/"}


class Blocks:
    """An array of tensorstore, which is read after a look at the files of the blocks that a read needs.

    What a format adds is in a subclass: `axes_in_order`, which brings the axes into ours, and `file_of`.

    Parameters
    ----------
    spec : mapping
        Driver, and what else it needs to find the array in the folder.
    folder, root : Folder
        Of the array, and the one that the user named, which nothing may lead out of.
    metadata : sequence of str
        Files of the folder that say what the array is; a change of them is an error of the next read.
    strict : bool
        Whether a missing block is an error; else it is the fill value.
    """

    blosc, header, shard = False, 0, None
    """Whether blosc packs the blocks; bytes before what it packed; how blocks are joined in a file, if they are."""

    def __init__(
        self, spec: Mapping[str, Any], folder: Folder, root: Folder, metadata: Sequence[str], *, strict: bool
    ) -> None:  # fmt: skip
        self.folder, self.root, self.what, self.metadata = folder, root, root.name, metadata
        cache = {"cache_pool": {"total_bytes_limit": CACHE_BYTES}}
        self._spec = {
            **spec, "kvstore": kvstore_of(folder), "fill_missing_data_reads": not strict, "recheck_cached_data": "open",
            "context": {**CONTEXT, **cache},
        }  # fmt: skip
        self.open()
        self.dtype = native(self.store.dtype.numpy_dtype)
        self.sides = tuple(int(n or 1) for n in self.store.chunk_layout.write_chunk.shape or ())
        self.bytes = math.prod(self.sides) * self.dtype.itemsize
        self._seen: dict[Path, Stamp | None] = {}
        self._folders = set[Any]()
        self._asked = set[str]()

    def open(self) -> None:
        """Open the array, with nothing in its cache."""
        self.store = self.axes_in_order(_result(self.folder, tensorstore.open(self._spec, open=True, read=True)))
        self._lost = False

    def axes_in_order(self, store: Any) -> Any:
        """Return the array with its slowest axis first, counted from 0."""
        return store

    def file_of(self, index: tuple[int, ...]) -> str | None:
        """Return the name of the file of a block in the folder, or None where it lies in one of others."""
        raise NotImplementedError(f"{type(self).__name__} must say how its blocks are called.")  # each format has names

    @property
    def inner(self) -> int:
        """How many blocks a file holds."""
        return math.prod(self.sides) // math.prod(self.shard["chunk_shape"] if self.shard else self.sides)

    def lazy(self) -> Lazy:
        """Return the array."""
        self._watch()
        blocks = tuple(int(n or 1) for n in self.store.chunk_layout.read_chunk.shape or (1,) * self.store.rank)
        size = math.prod(blocks) * self.dtype.itemsize
        check_block(self.what, size, size)
        return Lazy(self.store.shape, self.dtype, self._read, self.what, blocks)

    def _read(self, key: Slices) -> Array:
        if self._lost:  # what got no answer may still wait for one in the cache
            self.open()
        self._watch()
        names = [name for i in blocks_of(key, self.sides, self.what) if (name := self.file_of(i)) is not None]
        try:
            if isinstance(self.folder, Remote):
                self._ask(self.folder, names)
            else:
                for name in names:
                    self._check(self.folder / name)
            return np.asarray(_result(self.folder, self.store[key].read()))
        except UnreachableError:
            self._lost = True
            raise
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            text = " ".join(str(error).split())
            if "is missing" not in text:
                raise CorruptFileError(f"{self.what}: a block is damaged ({text[:160]}).") from error
            raise CorruptFileError(
                f"{self.what} lacks a block ({text[text.find('chunk') :][:80]}). Restore the file from a copy. If the "
                "program that wrote it leaves empty blocks out, open labels with empty_blocks=True."
            ) from error

    def _ask(self, folder: Remote, names: Sequence[str]) -> None:
        """Refuse blocks on the network that blosc would make more room for than they have voxels."""
        new = [name for name in names if name not in self._asked] if self.blosc and not self.shard else []
        heads = folder.heads(new, self.header + 8)
        for head in heads:
            check_block(self.what, self.bytes, int.from_bytes(head[self.header + 4 :], "little"))
        if len(self._asked) > MOST_SEEN:
            self._asked = set()
        self._asked.update(new)

    def _watch(self) -> None:
        """Refuse to go on if the metadata of the array were written again."""
        if isinstance(self.folder, Path):
            for name in self.metadata:
                self._unchanged(self.folder / name)

    def _unchanged(self, path: Path) -> int:
        """Return the size of a file, 0 where there is none; refuse one that is another than at the first look."""
        stamp = stamp_of(path)
        if len(self._seen) > MOST_SEEN:
            self._seen = {one: kept for one, kept in self._seen.items() if one.name in self.metadata}
            self._folders = set()
        if self._seen.setdefault(path, stamp) != stamp:
            raise changed(self.what)
        return stamp[0] if stamp else 0

    def _check(self, path: Any) -> None:
        """Refuse the file of a block that is a link out of the store, no file, or holds far more than the block.

        The decoder of blosc makes room for what a block says of itself.
        """
        there = self._is_there(path)
        if isinstance(path, zipfile.Path):
            size = path.root.NameToInfo[path.at].file_size if there else 0
        else:
            size = self._unchanged(path)
        check_block(self.what, self.bytes, size)
        if self.blosc and size:
            with path.open("rb") as file:
                for at, length in self._packed(file):
                    file.seek(at)
                    told = int.from_bytes(file.read(8)[4:], "little")
                    check_block(self.what, self.bytes // self.inner, max(length, told))

    def _is_there(self, path: Path | zipfile.Path) -> bool:
        """Return whether there is a regular file inside of the store; of each folder the way is followed once."""
        if path.parent in self._folders and isinstance(path, Path):
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    return True
        there = inside(path, self.root, self.what)
        if there and isinstance(path, Path):
            self._folders.add(path.parent)
        return there

    def _packed(self, file: Any) -> list[list[int]]:
        """Return where in the file of a block, or of a shard of them, what blosc has packed begins, and its length."""
        if not self.shard:
            return [[self.header, 0]]
        length = 16 * self.inner + 4 * ("crc32c" in str(self.shard.get("index_codecs")))
        file.seek(*((0, os.SEEK_SET) if self.shard.get("index_location") == "start" else (-length, os.SEEK_END)))
        found = np.frombuffer(file.read(16 * self.inner), "<u8").reshape(-1, 2)
        return found[found[:, 0] < 2**63].tolist()


def _result(folder: Folder, future: Any) -> Any:
    return folder.wait(future) if isinstance(folder, Remote) else future.result()
