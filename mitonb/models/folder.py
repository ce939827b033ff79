"""The models on this machine, and those that others have published, with their download. No torch here."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import platformdirs

from mitonb.errors import CancelledError, ChecksumError, CorruptFileError, DownloadError, ModelError, TooLargeError
from mitonb.files import atomic_write
from mitonb.job import Progress
from mitonb.models.spec import WEIGHTS, ModelSpec, printable, specs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

LARGEST_NOTE = 1 << 20  # bytes
LARGEST_DOWNLOAD = 4 << 30
RESERVE = 64 << 20  # bytes that a disk must keep free
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


# -------------------------------------------------------------------------------------------------- on this machine


@dataclass(frozen=True)
class Installed:
    """A model that is on this machine.

    Attributes
    ----------
    spec : ModelSpec
        Its card; `sha256` is the hash that was pinned when it came.
    path : path
        Its weights.
    source : str
        Where it came from: an address, a path, or "bundled".
    """

    spec: ModelSpec
    path: Path
    source: str


def model_folder() -> Path:
    """Return the folder of pulled and imported models: MITONB_MODEL_DIR, or the usual place of this system.

    It may be read-only and shared; models in it can then be used but not added.
    """
    named = os.environ.get("MITONB_MODEL_DIR")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_data_path("mitonb", appauthor=False) / "models"


def plain_name(name: str) -> str:
    """Return a name if a model may bear it.

    Raises
    ------
    ModelError
        If it is no plain word.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"A model's name has letters, digits, dots, dashes and underscores, 80 at most, got {printable(name)!r}."
        )
    return name


def model_names() -> tuple[str, ...]:
    """Return the names of all models that can run here: bundled ones first."""
    return tuple(dict.fromkeys((*specs(), *installed())))


def installed() -> dict[str, Installed]:
    """Return the pulled and imported models by name; what is damaged is left out."""
    found = {}
    for note in sorted(model_folder().glob("*.model.json")) if model_folder().is_dir() else ():
        with contextlib.suppress(ModelError, CorruptFileError):
            one = _read(note)
            found[one.spec.name] = one
    return found


def installed_as(name: str) -> Installed | None:
    """Return a bundled, pulled or imported model, or None if there is none of this name.

    Raises
    ------
    ModelError, CorruptFileError
        If what is known about it is damaged, or its weights are gone.
    """
    bundled = specs()
    if name in bundled:
        return Installed(bundled[name], WEIGHTS / f"{name}.safetensors", "bundled")
    return _read(_note(name)) if _NAME.fullmatch(name) and _note(name).is_file() else None


def add_installed(spec: ModelSpec, file: str, source: str) -> Installed:
    """Write down a model whose weights are in the folder already; its hash is pinned from now on.

    Parameters
    ----------
    spec : ModelSpec
        Its card, with hash.
    file : str
        Name of the weight file in the folder.
    source : str
        Where it came from.
    """
    note = _note(plain_name(spec.name))
    text = json.dumps({"card": dataclasses.asdict(spec), "file": plain_name(file), "source": source}, indent=1)
    with atomic_write(note) as temporary:
        temporary.write_text(text, "utf-8")
    return Installed(spec, note.with_name(file), source)


def pinned(name: str) -> str:
    """Return the hash that a model had when it first came, even if its weights are gone; empty if it never came."""
    try:
        return _values(_note(name))[0].sha256
    except (OSError, ModelError, ValueError):
        return ""


def sha256_of(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(name: str) -> Path:
    return model_folder() / f"{name}.model.json"


def _values(note: Path) -> tuple[ModelSpec, str, str]:
    """Return card, file and source as a note tells them."""
    if note.stat().st_size > LARGEST_NOTE:
        raise ValueError("too large")
    try:
        values = json.loads(note.read_bytes())
        card = ModelSpec.from_json(json.dumps(values["card"]), where=str(note))
        return card, str(values["file"]), str(values.get("source", ""))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(note: Path) -> Installed:
    """Read what is known about one model."""
    name = note.name.removesuffix(".model.json")
    try:
        spec, file, source = _values(note)
    except (OSError, ValueError) as error:
        raise ModelError(f"{note} is damaged ({error}). Delete it, and pull or import {name} again.") from error
    if spec.name != name or not _NAME.fullmatch(file):
        raise ModelError(f"{note} tells of another model. Delete it, and pull or import {name} again.")
    path = note.with_name(file)
    if not path.is_file():
        raise CorruptFileError(f"The weights of {name} are missing from {note.parent}. Pull or import it again.")
    return Installed(spec, path, source)


# -------------------------------------------------------------------------------------------------------- published


@dataclass(frozen=True)
class Published:
    """A model that others have published.

    Attributes
    ----------
    card : ModelSpec
        What is known before its weights are here; widths are told by its tensors then.
    address : str
        Where the weights are.
    quantised : str
        Where their 8-bit form is, which only its own code can run; empty if there is none.
    """

    card: ModelSpec
    address: str
    quantised: str


_TOLD = json.loads(Path(__file__).with_name("published.json").read_text("utf-8"))

PUBLISHED = {told["card"]["name"]: Published(**{**told, "card": ModelSpec(**told["card"])}) for told in _TOLD}
"""Published models by name."""


# ----------------------------------------------------------------------------------------------------- the download


def fetching(
    address: str, target: Path, *, sha256: str = "", check: Callable[[Path], object] | None = None,
    patience: float = 30.0, most: int = LARGEST_DOWNLOAD,
) -> Generator[Progress, None, Path]:  # fmt: skip
    """Fetch a file, as a generator that yields its progress.

    The file gets its name when it is whole and checked.

    Parameters
    ----------
    address : str
        Begins with https://; http:// only on this machine itself.
    target : path
        Where the file goes. If it is there already, nothing is fetched.
    sha256 : str
        The hash that it must have; empty if none is known.
    check : callable, optional
        Called with the fetched file before it gets its name; raises if the file is not what it should be.
    patience : float
        Seconds to wait for an answer.
    most : int
        Largest size in bytes.

    Yields
    ------
    Progress
        Bytes that have come, and all of them (0 when the server does not say).

    Returns
    -------
    path
        `target`.

    Raises
    ------
    DownloadError
        If there is no network, no such file, no space, or a server that may not be trusted; says what to do.
    ChecksumError
        If the file is not the one with this hash; it has been thrown away.
    TooLargeError
        If it is larger than `most`.
    """
    _require_https(address)
    if target.exists():
        return target
    with _explained(address, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            yield from _transfer(address, temporary, patience, most)
            got = sha256_of(temporary)
            if sha256 and got != sha256:
                raise ChecksumError(
                    f"{address} gave a file with the hash sha256:{got}, but sha256:{sha256} was pinned. It was thrown "
                    "away. Either the file was replaced or something stands between: ask its makers first."
                )
            if check is not None:
                check(temporary)
    return target


class _Bar:
    """Counts what has come, in the form that pooch wants of a progress bar; stops the transfer when told to."""

    def __init__(self, most: int) -> None:
        self.done, self.total, self.most, self.stopped = 0, 0, most, False

    def update(self, count: int) -> None:
        self.done += count
        if self.stopped:
            raise CancelledError("The download was stopped.")
        if self.done > self.most:
            raise TooLargeError(f"The server sent more than {self.most} bytes; nothing was kept.")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Do nothing: this bar shows nothing by itself."""


def _transfer(address: str, part: Path, patience: float, most: int) -> Iterator[Progress]:
    """Fetch a file in a thread, and yield how much has come."""
    import pooch

    bar, failed, answers = _Bar(most), list[BaseException](), list[Any]()

    def seen(answer: Any, *_: Any, **__: Any) -> None:
        answers.append(answer)
        _check_answer(answer, part, most)

    # Packed on the way, its size would not be known before.
    words = {"headers": {"Accept-Encoding": "identity"}, "hooks": {"response": seen}, "timeout": patience}

    def work() -> None:
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, **words)(address, str(part), None)
        except BaseException as error:
            failed.append(error)
        finally:
            for answer in answers:
                answer.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
            yield Progress("fetching", bar.done, bar.total)
    finally:
        bar.stopped = True
        thread.join()
    if failed:
        raise failed[0]


def _check_answer(answer: Any, part: Path, most: int) -> None:
    """Refuse answers that lead elsewhere, are web pages, or would not fit; pooch follows and writes the others."""
    old = urlsplit(answer.url).hostname or ""
    if answer.is_redirect:
        new = urljoin(answer.url, answer.headers["Location"])
        _require_https(new)
        host = urlsplit(new).hostname or ""
        if host != old and not host.endswith(f".{old}"):  # a hash may not be known yet
            raise DownloadError(
                f"{old} sends on to {printable(host)}, another server, which was not followed. If you trust it, fetch "
                "the file with a browser and bring it in: mitonb models import FILE --name NAME"
            )
    elif answer.ok and "html" in answer.headers.get("Content-Type", ""):
        raise DownloadError(
            f"{old} sent a web page instead of weights. Is a login page of the network between? Open the address in a "
            "browser."
        )
    length = answer.headers.get("Content-Length", "")
    size, free = int(length) if length.isdigit() else 0, shutil.disk_usage(part.parent).free
    if size > most:
        raise TooLargeError(f"The file has {size >> 20} MB; at most {most >> 20} MB are fetched.")
    if size + RESERVE > free:
        raise OSError(errno.ENOSPC, f"{size >> 20} MB are to come, {free >> 20} MB are free")


def _require_https(address: str) -> None:
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise DownloadError(
            f"{printable(address)} is not fetched: only addresses that begin with https:// are, so that nobody between "
            "can change the file."
        )


@contextlib.contextmanager
def _explained(address: str, target: Path) -> Iterator[None]:
    """Say in one sentence why a file did not come, and what to do."""
    import requests

    host = urlsplit(address).hostname
    by_hand = f"fetch {address} elsewhere and bring it in: mitonb models import FILE --name NAME"
    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        more = "The file has moved or no longer exists." if code in (404, 410) else "Try again later."
        raise DownloadError(f"{host} answered {code} for {address}. {more}") from error
    except requests.exceptions.SSLError as error:
        raise DownloadError(
            f"{host} could not prove who it is, so nothing was fetched. If your network inspects traffic, ask for its "
            f"certificate; mitonb never goes on without. Or {by_hand}"
        ) from error
    except requests.RequestException as error:
        raise DownloadError(
            f"{host} cannot be reached, or the connection broke ({printable(str(error), 200)}). Try again. Is this "
            f"machine offline? If so, {by_hand}"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"The disk of {target.parent} is full" if full else f"{target} cannot be written"
        raise DownloadError(
            f"{what} ({error.strerror or error}). Make room, or let MITONB_MODEL_DIR name another folder."
        ) from error
