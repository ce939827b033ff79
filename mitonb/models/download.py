"""The download: a file by https, whole and checked or not at all; what came of a broken one is gone on with."""

import contextlib
import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from mitonb.errors import ChecksumError, DownloadError, TooLargeError
from mitonb.files import atomic_write
from mitonb.job import Progress
from mitonb.models.spec import printable

LARGEST_DOWNLOAD = 4 << 30
RESERVE = 64 << 20  # bytes that a disk must keep free


def sha256_of(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetching(
    address: str, target: Path, *, sha256: str = "", check: Callable[[Path], object] | None = None,
    patience: float = 30.0, most: int = LARGEST_DOWNLOAD,
    by_hand: str = "bring it in: mitonb models import FILE --name NAME",
) -> Generator[Progress, None, Path]:  # fmt: skip
    """Fetch a file, as a generator that yields its progress.

    The file gets its name when it is whole and checked. What came of one that broke off or was stopped is kept under a
    hidden name beside it, and the next call goes on with it if the server can tell that the file is still the same.

    Parameters
    ----------
    address : str
        Begins with https://; http:// only on this machine itself.
    target : path
        Where the file goes. If it is there already, it is only checked.
    sha256 : str
        The hash that it must have; empty if none is known.
    check : callable, optional
        Called with the fetched file before it gets its name; raises if the file is not what it should be.
    patience : float
        Seconds to wait for an answer.
    most : int
        Largest size in bytes.
    by_hand : str
        What to do with a file that was fetched elsewhere, for errors.

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

    def verify(path: Path, what: object, advice: str) -> None:
        got = sha256_of(path) if sha256 else ""
        if got != sha256:
            raise ChecksumError(f"{what} has the hash sha256:{got}, but sha256:{sha256} was pinned. {advice}")
        if check is not None:
            check(path)

    if target.exists():
        verify(target, target, "It was changed, or is another file: move it away and pull again.")
        return target
    with _explained(address, target, by_hand):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as temporary:
            yield from _transfer(address, target, temporary, patience, most, by_hand)
            advice = "It was thrown away. Was it replaced, or does something stand between? Ask its makers first."
            verify(temporary, f"What {address} gave", advice)
    return target


def _transfer(
    address: str, target: Path, temporary: Path, patience: float, most: int, by_hand: str
) -> Iterator[Progress]:
    """Fetch a file, or the rest of it, and yield how much has come; keep that of one that breaks off or is stopped.

    The hidden name of what is kept holds the tag by which the server knows this state of the file, in hexadecimal. A
    rename takes it: of two processes one goes on with it.
    """
    import requests

    tag, came = "", 0
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with contextlib.suppress(OSError, ValueError):
            known = bytes.fromhex(part.name.split(".")[-2]).decode()
            os.replace(part, temporary)
            tag, came = known, temporary.stat().st_size

    def seen(answer: Any, *_: Any, **__: Any) -> None:
        with contextlib.ExitStack() as refused:
            refused.callback(answer.close)
            _check_answer(answer, temporary, most, by_hand)
            refused.pop_all()

    # Packed on the way, its size would not be known before.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={came}-", "If-Range": tag} if came else {})
    words: Any = {"headers": headers, "hooks": {"response": seen}, "timeout": patience, "stream": True}
    try:
        with requests.get(address, **words) as answer, temporary.open("ab") as file:
            if came and (answer.status_code, answer.headers.get("Content-Range")) == (416, f"bytes */{came}"):
                return  # nothing is left to come
            answer.raise_for_status()
            came = came if answer.status_code == 206 else 0
            if came and not answer.headers.get("Content-Range", "").startswith(f"bytes {came}-"):
                raise DownloadError(f"{urlsplit(address).hostname} sent another part than was asked for. Try again.")
            tag = answer.headers.get("ETag", "")
            tag = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
            file.truncate(came)
            total = came + _length(answer)
            for piece in answer.iter_content(1 << 16):
                came += file.write(piece)
                if came > most:
                    raise TooLargeError(f"The server sent more than {most} bytes; nothing was kept.")
                yield Progress("fetching", came, total if _length(answer) else 0)
    except (
        GeneratorExit, KeyboardInterrupt, requests.ConnectionError, requests.Timeout,
        requests.exceptions.ChunkedEncodingError, requests.HTTPError,
    ) as error:  # fmt: skip
        code = getattr(getattr(error, "response", None), "status_code", 503)
        if 0 < len(tag) <= 60 and (code >= 500 or code == 429):  # of a server that is only busy
            with contextlib.suppress(OSError):
                os.replace(temporary, target.with_name(f".{target.name}.{tag.encode().hex()}.part"))
        raise


def _length(answer: Any) -> int:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else 0


def _check_answer(answer: Any, part: Path, most: int, by_hand: str) -> None:
    """Refuse answers that lead elsewhere, are web pages, or would not fit."""
    old = urlsplit(answer.url).hostname or ""
    if answer.is_redirect:
        new = urljoin(answer.url, answer.headers["Location"])
        _require_https(new)
        host = urlsplit(new).hostname or ""
        if host != old and not host.endswith(f".{old}"):  # a hash may not be known yet
            raise DownloadError(
                f"{old} sends on to {printable(host)}, another server, which was not followed. If you trust it, fetch "
                f"the file with a browser and {by_hand}"
            )
    elif answer.ok and "html" in answer.headers.get("Content-Type", ""):
        raise DownloadError(f"{old} sent a web page, perhaps to log in, and no file. Open the address in a browser.")
    size, free = _length(answer), shutil.disk_usage(part.parent).free
    if size > most:
        raise TooLargeError(f"The file has {size >> 20} MB; at most {most >> 20} MB are fetched.")
    if size + RESERVE > free:
        raise OSError(errno.ENOSPC, f"{size >> 20} MB are to come, {free >> 20} MB are free")


def _require_https(address: str) -> None:
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise DownloadError(f"{printable(address)} is not fetched: only addresses that begin with https:// are.")


@contextlib.contextmanager
def _explained(address: str, target: Path, by_hand: str) -> Iterator[None]:
    """Say in one sentence why a file did not come, and what to do."""
    import requests

    host = urlsplit(address).hostname
    by_hand = f"fetch {address} elsewhere and {by_hand}"
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
        # The cause alone: around it stands which pool of connections met it.
        reason = str(getattr(error.args[0], "reason", error) if error.args else "").rpartition("): ")[2]
        raise DownloadError(
            f"{host} cannot be reached, or the connection broke ({printable(reason, 200)}). Try again. Is this "
            f"machine offline? If so, {by_hand}"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"The disk of {target.parent} is full" if full else f"{target} cannot be written"
        why = f"{what} ({error.strerror or error})"
        raise DownloadError(f"{why}. Make room, or name another (MITONB_MODEL_DIR, MITONB_DATA_DIR).") from error
