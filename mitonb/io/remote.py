"""Stores on the network (http, https, s3, gs), read without listing; whatever fails there is one error of ours."""

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tensorstore

from mitonb.errors import InputError, UnreachableError, UnsafeFileError
from mitonb.io.limits import LARGEST_JSON, size_text

SCHEMES = ("http://", "https://", "s3://", "gs://")
NAMED = (".zattrs", ".zgroup", ".zarray", "zarr.json", "attributes.json", "info")
"""Metadata that are asked for at once, since every question takes its time."""
ANSWER = 8.0
"""Seconds in which a server must answer a small question."""
PATIENCE = 6.0
"""Seconds after which it is asked whether it is still there."""
RETRIES = {"max_retries": 3, "initial_delay": "200ms", "max_delay": "2s"}
CONTEXT = {"http_request_retries": RETRIES, "s3_request_retries": RETRIES}
PREFIX = re.compile(r"^(?:precomputed|n5|zarr[23]?)://(?=\w+://)")
"""What Neuroglancer writes before an address."""


def is_address(source: Any) -> bool:
    """Return whether a source is the address of a store on the network."""
    return isinstance(source, str) and "://" in source


def remote_folder(address: str) -> "Remote":
    """Return the folder at an address.

    Raises
    ------
    InputError
        If it is none of http://, https://, s3:// and gs://, or carries a name, a password or a signature.
    """
    plain = PREFIX.sub("", address.strip()).rstrip("/|")
    scheme, _, rest = plain.partition("://")
    host = rest.partition("/")[0]
    if f"{scheme}://" not in SCHEMES or not host or len(plain) > 2000 or not plain.isprintable():
        local = re.match(r"(?:precomputed|n5|zarr[23]?|file)://", plain)
        advice = f"Give a path on this machine without {local[0]}, or" if local else "Use"
        raise InputError(f"{address[:200]!r} is no address that is opened. {advice} https://, http://, s3:// or gs://.")
    if "@" in host or "?" in rest or "#" in rest:
        raise InputError(
            f"{scheme}://{host.rpartition('@')[2]}/... carries a password, a signature or another part after ? or #, "
            "which would stay in records. Open a public address without it."
        )
    # Of a server that falls silent nothing is ever heard otherwise: libcurl waits for hours.
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "10")
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")
    return Remote(plain)


@dataclass(frozen=True)
class Remote:
    """A folder or a file of a store on the network, with those methods of a path that readers of stores use.

    Attributes
    ----------
    address : str
        Without a slash at its end.
    seen : dict
        What small files hold by their address, None of those that are not there: each is asked for once.
    """

    address: str
    seen: dict[str, bytes | None] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.address}/{name}", self.seen)

    def joinpath(self, *names: str) -> "Remote":
        """Return what lies below."""
        return Remote("/".join((self.address, *names)), self.seen)

    @property
    def name(self) -> str:
        """Last part of the address."""
        return self.address.rpartition("/")[2]

    @property
    def parent(self) -> "Remote":
        """The folder that this lies in."""
        return Remote(self.address.rpartition("/")[0], self.seen)

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What tensorstore calls this folder."""
        scheme, _, rest = self.address.partition("://")
        bucket, _, path = rest.partition("/")
        if scheme == "s3":
            spec = {"driver": "s3", "bucket": bucket, "aws_credentials": {"type": "anonymous"}}
            own = os.environ.get("AWS_ENDPOINT_URL")  # as all programs of AWS have it
            region = os.environ.get("AWS_REGION", "us-east-1")
            spec |= {"endpoint": own.rstrip("/"), "aws_region": region} if own else {}
            return spec | ({"path": f"{path}/"} if path else {})
        # What is public in Google's store is served without asking for an account.
        store = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com").rstrip("/")
        base = f"{store}/{rest}" if scheme == "gs" else self.address
        return {"driver": "http", "base_url": base.replace(" ", "%20") + "/"}

    def is_dir(self) -> bool:
        """Return True: nobody can say, and what is asked for in it says more."""
        return True

    def iterdir(self) -> tuple[()]:
        """Return nothing: a server of files does not list them."""
        return ()

    def is_file(self) -> bool:
        """Return whether there is such a file of metadata."""
        return self.read() is not None

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the bytes of a file of metadata."""
        return io.BytesIO(self.read() or b"")

    def read(self) -> bytes | None:
        """Return what a file of metadata holds; None where there is none.

        Raises
        ------
        UnreachableError
            If the server does not answer, or refuses.
        UnsafeFileError
            If it is larger than metadata ever are.
        """
        if self.address not in self.seen:
            folder = self.parent
            names = NAMED if self.name in NAMED else (self.name,)
            with folder.reachable():
                store = tensorstore.KvStore.open({**folder.spec, "context": CONTEXT}).result(timeout=ANSWER)
                # More than the most is asked for: that there is less is what a small file answers.
                first = {name: store.read(name, byte_range=slice(0, LARGEST_JSON + 1)) for name in names}
                answers = {name: _answer(question) for name, question in first.items()}
                sizes = {name: size for name, size in answers.items() if isinstance(size, int)}
                # No more is asked for than the server said: what has grown, or lies, fills no memory.
                again = {name: store.read(name, byte_range=slice(0, size)) for name, size in sizes.items() if size}
                found: dict[str, Any] = {name: _answer(question) for name, question in again.items()}
                if large := [
                    k for k in names if answers[k] is LARGE or isinstance(answers[k], bytes) or found.get(k) is LARGE
                ]:
                    limit = size_text(LARGEST_JSON)
                    raise UnsafeFileError(f"{folder}/{large[0]} has more than {limit}; metadata never have.")
                # What is packed on its way is as long as was said only while it is packed.
                packed = {name: store.read(name) for name, answer in found.items() if isinstance(answer, int)}
                found |= {name: question.result(timeout=ANSWER).value for name, question in packed.items()}
                found |= {name: b"" for name, size in sizes.items() if not size}
            self.seen.update({f"{folder}/{name}": found.get(name) for name in names})
        return self.seen[self.address]

    def heads(self, names: Sequence[str], length: int) -> list[bytes]:
        """Return the first bytes of files, of those that are there and have so many.

        Of a server that gives no parts of files they are taken from the whole.
        """
        if not names:
            return []
        with self.reachable():
            store = tensorstore.KvStore.open({**self.spec, "context": CONTEXT}).result(timeout=ANSWER)
            asked = {name: store.read(name, byte_range=slice(0, length)) for name in names}
            found = {name: _answer(question) for name, question in asked.items()}
            whole = [store.read(name) for name, answer in found.items() if answer is LARGE]
            heads = [bytes(question.result(timeout=ANSWER).value[:length]) for question in whole]
            return [answer for answer in found.values() if isinstance(answer, bytes)] + heads

    @contextlib.contextmanager
    def reachable(self) -> Iterator[None]:
        """Turn what a network makes of a question into an error that says what to do."""
        try:
            yield
        except TimeoutError as error:
            raise _unreachable(self.address, f"no answer within {ANSWER:g} seconds") from error
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise _unreachable(self.address, str(error)) from error

    def wait(self, future: Any) -> Any:
        """Return the result of a long question; when it takes its time, ask whether the server is still there.

        Raises
        ------
        UnreachableError
            If it is not, or the answer is lost on its way; errors about what was read stay as they are.
        """
        while True:
            try:
                return future.result(timeout=PATIENCE)
            except ValueError as error:
                if re.search(r"HTTP code|CURL|retry attempts|PERMISSION_DENIED|UNAVAILABLE|ignored by", str(error)):
                    raise _unreachable(self.address, str(error)) from error
                raise
            except TimeoutError:
                with self.reachable():
                    store = tensorstore.KvStore.open({**self.spec, "context": CONTEXT}).result(timeout=ANSWER)
                    _answer(store.read("info", byte_range=slice(0, 1)))


LARGE = "large"
CUTS = {
    "ignored by server": LARGE,
    # Stores that do not list what they have say so instead of that there is nothing.
    "HTTP code 403": None,
    "PERMISSION_DENIED": None,
}
"""What is said of a file of which a part was asked for."""
REASONS: Mapping[str, str] = {
    "ignored by server": "the server does not give parts of files, which blocks in shards need",
    "HTTP code 30": "it sends on to another address, which is not followed: open that one",
    "PERMISSION_DENIED": "it does not give this to everybody, and only public stores are opened; or a block was "
    "left out as empty, of which stores that do not list what they have say the same (open a copy on disk)",
    "HTTP code 5": "the server has a fault or is busy",
    "resolve": "there is no such host, or no connection to the network",
    "connect to server": "nobody answers there",
    "too slow": "it fell silent",
    "SSL": "its certificate is not accepted",
}


def _answer(question: Any) -> bytes | int | str | None:
    """Return bytes of a part of a file; its size, as the server says it, where it is smaller; LARGE where the server
    gives no parts and it is larger; None where there is no such file.
    """
    try:
        found = question.result(timeout=ANSWER)
        return None if found.state == "missing" else bytes(found.value)
    except ValueError as error:
        text = str(error)
        if "OUT_OF_RANGE" in text:
            size = re.search(r"size (\d+)", text)
            return int(size[1]) if size else 0  # of nothing no part can be given
        for sign, answer in CUTS.items():
            if sign in text:
                return answer
        raise


def _unreachable(address: str, told: str) -> UnreachableError:
    why = next((reason for sign, reason in REASONS.items() if sign in told), " ".join(told.split())[:160])
    return UnreachableError(
        f"{address} cannot be read: {why}. Check address and connection, and read again; what is open stays open."
    )
