"""Fetch a file of weights: verified TLS, resumed where it broke off, and under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mitonb.errors import ChecksumError, DownloadError, MitonbError, TooLargeError
from mitonb.files import wait_in_line
from mitonb.job import Progress
from mitonb.models.spec import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

__all__ = ["fetching", "sha256_of"]

LARGEST = 4 << 30  # bytes
RESERVE = 64 << 20  # bytes that a disk must keep free
SLOWEST = 1024  # bytes per second; less for as long as the patience lasts is a broken line
LOCAL = {"127.0.0.1", "localhost", "::1"}
AGAIN = {408, 425, 429, 500, 502, 503, 504}
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class _Limits:
    patience: float  # seconds without an answer, or with one that is too slow
    tries: int  # in a row that bring nothing
    most: int  # bytes


def fetching(
    address: str,
    target: Path,
    *,
    sha256: str = "",
    check: Callable[[Path], None] | None = None,
    patience: float = 30.0,
    tries: int = 4,
    most: int = LARGEST,
) -> Generator[Progress, None, Path]:
    """Fetch a file, as a generator that yields its progress.

    What came before an interruption stays in `target` + ".part" and is continued, if the server says that the file is
    still the same one (ETag or date, RFC 9110 sections 13.1.5 and 14). Two processes that fetch the same file wait for
    each other.

    Parameters
    ----------
    address : str
        Begins with https://; http:// only on this machine itself.
    target : path
        Where the file goes, once whole and checked. If it is there already, nothing is fetched.
    sha256 : str
        The hash that it must have; empty if none is known.
    check : callable, optional
        Called with the fetched file before it gets its name; raises if the file is not what it should be.
    patience : float
        Seconds to wait for an answer.
    tries : int
        How often in a row a line may break before this gives up.
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
    _allowed(address)
    limits = _Limits(patience, tries, most)
    with _explained(address, target), wait_in_line(target) as mine:
        while not mine():
            yield Progress("waiting for another download of this file", 0, 0)
            time.sleep(0.2)
        if target.exists():
            return target
        part = target.with_name(f"{target.name}.part")
        try:
            yield from _trying(address, part, limits)
            yield Progress("checking", 1, 1)
            got = sha256_of(part)
            if sha256 and got != sha256:
                raise ChecksumError(
                    f"{address} gave a file with the hash sha256:{got}, but sha256:{sha256} was pinned. It was thrown "
                    "away. Either the file was replaced or something stands between: ask its makers first."
                )
            if check is not None:
                check(part)
        except MitonbError:
            _forget(part)  # what came is wrong; what is only cut off stays
            raise
        part.replace(target)
        _forget(part)
    return target


def sha256_of(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ----------------------------------------------------------------------------------------------------- the transfer


def _trying(address: str, part: Path, limits: _Limits) -> Iterator[Progress]:
    """Fetch into the part file, again and again as long as something comes."""
    failed = 0
    while True:
        before = _size(part)
        try:
            yield from _transfer(address, part, limits)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in AGAIN:
                raise
            problem: Exception = error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise
            problem = error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            problem = error
        failed = 1 if _size(part) > before else failed + 1
        if failed >= limits.tries:
            raise problem
        yield Progress(f"the connection broke ({type(problem).__name__}), trying again", _size(part), 0)
        time.sleep(min(0.1 * 4 ** (failed - 1), limits.patience, 10))


def _transfer(address: str, part: Path, limits: _Limits) -> Iterator[Progress]:
    """Fetch what is missing of the part file in one go."""
    seen = _known(part, address)
    headers = {"User-Agent": "mitonb", "Accept-Encoding": "identity"}
    if seen:
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": seen}
    try:
        answer = _opener().open(urllib.request.Request(address, headers=headers), timeout=limits.patience)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not seen:
            raise
        error.close()
        _forget(part)  # there is nothing after what we have, so what we have is not this file
        raise ConnectionError("the part was of another file") from error
    with answer:
        start = _start(answer, part) if seen else 0
        if (
            answer.headers.get("Content-Encoding", "identity") != "identity"
            or "html" in answer.headers.get_content_type()
        ):
            raise DownloadError(
                f"{_host(address)} sent a web page or something packed instead of weights. Is a login page of the "
                f"network between? Open {address} in a browser."
            )
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else 0
        _room(part, total - start, total, limits.most)
        _write_note(answer, part, address)
        yield from _copied(answer, part, start, total, limits)


def _copied(answer: Any, part: Path, start: int, total: int, limits: _Limits) -> Iterator[Progress]:
    """Write an answer into the part file."""
    done, shown, counted, since = start, 0.0, start, time.monotonic()
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        while block := answer.read1(1 << 18):
            file.write(block)
            done += len(block)
            now = time.monotonic()
            if done > (total or limits.most):
                raise TooLargeError(f"The server sent more than {total or limits.most} bytes; nothing was kept.")
            if now - since > limits.patience:
                if done - counted < SLOWEST * limits.patience:
                    raise TimeoutError(f"less than {SLOWEST} bytes per second")
                counted, since = done, now
            if now - shown > 0.2:
                shown = now
                yield Progress("fetching", done, total)
        file.flush()
        os.fsync(file.fileno())
    if total and done < total:
        raise ConnectionError(f"only {done} of {total} bytes came")
    yield Progress("fetching", done, total or done)


def _start(answer: Any, part: Path) -> int:
    """Return from where on the server goes on: the end of the part, or the beginning if it has another file now."""
    if answer.status != 206:
        return 0
    told = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if told != str(_size(part)):
        _forget(part)
        raise ConnectionError("the server went on at another place")
    return int(told)


def _room(part: Path, missing: int, total: int, most: int) -> None:
    """Refuse what is too large for the limit or the disk."""
    if total > most:
        raise TooLargeError(f"The file has {total >> 20} MB; at most {most >> 20} MB are fetched.")
    free = shutil.disk_usage(part.parent).free
    if missing + RESERVE > free:
        raise OSError(errno.ENOSPC, f"{missing >> 20} MB are still to come, {free >> 20} MB are free")


# -------------------------------------------------------------------------------------------------------- the part


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_note(answer: Any, part: Path, address: str) -> None:
    """Remember, beside the part, of which file it is."""
    tag = answer.headers.get("ETag") or ""
    # A weak tag does not promise the same bytes.
    tag = tag if tag.startswith('"') else answer.headers.get("Last-Modified") or ""
    _note(part).write_text(json.dumps({"address": address, "tag": tag}), "utf-8")


def _known(part: Path, address: str) -> str:
    """Return the tag of the file that the part is of, empty if it cannot be continued."""
    try:
        note = json.loads(_note(part).read_bytes()[:10_000])
        same = note["address"] == address and _size(part) > 0
        return str(note["tag"]) if same else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------- the network


def _allowed(address: str) -> None:
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in LOCAL
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise DownloadError(
            f"{printable(address)} is not fetched: only addresses that begin with https:// are, so that nobody between "
            "can change the file."
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow only to https, and only within the same host: a hash may not be known yet."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            _allowed(newurl)
            old, new = urlsplit(req.full_url).hostname or "", urlsplit(newurl).hostname or ""
            if new != old and not new.endswith(f".{old}"):
                raise DownloadError(
                    f"{old} sends on to {printable(new)}, another server, which was not followed. If you trust it, "
                    "fetch the file with a browser and bring it in: mitonb models import FILE --name NAME"
                )
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        except BaseException:
            fp.close()
            raise


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https alone: no files, no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


@contextlib.contextmanager
def _explained(address: str, target: Path) -> Iterator[None]:
    """Say in one sentence why a file did not come, and what to do."""
    host, by_hand = _host(address), f"fetch {address} elsewhere and bring it in: mitonb models import FILE --name NAME"
    try:
        yield
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{host} answered {error.code} {printable(str(error.reason))} for {address}. "
            + ("The file has moved or no longer exists." if error.code in (404, 410) else "Try again later.")
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            raise DownloadError(
                f"{host} could not prove who it is ({error.reason}), so nothing was fetched. If your network inspects "
                f"traffic, ask for its certificate; mitonb never goes on without. Or {by_hand}"
            ) from error
        raise DownloadError(
            f"{host} cannot be reached ({error.reason}). Is this machine offline? If so, {by_hand}"
        ) from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        kept = f" {_size(target.with_name(target.name + '.part')) >> 20} MB are kept; run the same again to go on."
        raise DownloadError(f"The connection to {host} broke: {error or type(error).__name__}.{kept}") from error
    except OSError as error:
        if error.errno in FULL:
            raise DownloadError(
                f"The disk of {target.parent} is full ({error.strerror}). Make room, or let MITONB_MODEL_DIR name a "
                "folder with more."
            ) from error
        raise DownloadError(f"{target} cannot be written: {error.strerror or error}.") from error
