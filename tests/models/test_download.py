"""Fetching weights from a server that breaks off, lies, dawdles or sends one elsewhere: a real one, on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import ssl
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from mitonb.errors import ChecksumError, DownloadError, ModelError, TooLargeError
from mitonb.job import drain
from mitonb.models.download import fetching

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 2000
CHUNKS = DATA[: 1 << 18]  # what is written whole


class Server(ThreadingHTTPServer):
    daemon_threads = True
    asked: Counter[str]
    body: bytes = DATA
    ranges: list[str | None]


class Answers(BaseHTTPRequestHandler):
    """Each path is another kind of server."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked[path] += 1
        self.close_connection = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, path.strip("/"))()

    def log_message(self, *_):
        pass

    def send(self, code=200, body=DATA, length=None, **headers):
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def good(self):
        self.send()

    def steady(self):
        """Send the file in pieces, so that others come while it is on its way."""
        self.send(body=b"", length=len(DATA))
        for start in range(0, len(DATA), 100_000):
            self.wfile.write(DATA[start : start + 100_000])
            self.wfile.flush()
            time.sleep(0.05)

    def dated(self):
        """Send slowly what was not sent before; the file is known by its date."""
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        date, where = "Mon, 01 Jan 2024 00:00:00 GMT", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        self.send(206 if start else 200, b"", len(DATA) - start, Last_Modified=date, Content_Range=where)
        for at in range(start, len(DATA), 50_000):
            self.wfile.write(DATA[at : at + 50_000])
            self.wfile.flush()
            time.sleep(0.05)

    def cut(self):
        self.send(body=DATA[:1000], length=len(DATA))

    def tagged(self, lie=0):
        """Break off in the middle, and send the rest to whoever still has the beginning of this very file."""
        whole, tag = self.server.body, f'"{len(self.server.body)}"'
        self.server.ranges.append(self.headers.get("Range"))
        if self.headers.get("If-Range") == tag:
            start = int(self.headers["Range"][6:-1]) + lie
            self.send(206, whole[start:], ETag=tag, Content_Range=f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        else:
            self.send(body=whole[: len(whole) // 2], length=len(whole), ETag=tag)

    def nearly(self):
        """Send all but the last byte to come, and to whoever has all of it say that there is no more."""
        self.server.ranges.append(self.headers.get("Range"))
        if self.headers.get("Range") == f"bytes={len(CHUNKS)}-":
            self.send(416, b"", Content_Range=f"bytes */{len(CHUNKS)}")
        else:
            self.send(body=CHUNKS, length=len(CHUNKS) + 1, ETag='"one"')

    def confused(self):
        self.tagged(lie=1)

    def silent(self):
        time.sleep(3)

    def always_busy(self):
        self.send(503, b"busy")

    def too_many(self):
        self.send(429, b"later")

    def missing(self):
        self.send(404, b"no")

    def page(self):
        self.send(body=b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")

    def huge(self):
        self.send(body=b"", length=10**13)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(100_000))

    def to_file(self):
        self.send(302, b"", Location="file:///etc/passwd")

    def to_plain(self):
        self.send(302, b"", Location="http://example.org/weights")

    def to_other(self):
        self.send(302, b"", Location=f"http://localhost:{self.server.server_port}/good")

    def to_good(self):
        self.send(302, b"", Location="/good?download=1")

    def round_and_round(self):
        self.send(302, b"", Location="/round_and_round")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Answers) as it:
        it.asked, it.ranges = Counter(), []
        threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        it.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    """Return a function that fetches a path of the server and gives the file's bytes."""

    def run(path: str, **options) -> bytes:
        options = {"patience": 20, **options}
        target = tmp_path / "weights.pth"
        got = drain(fetching(f"http://127.0.0.1:{server.server_port}/{path}", target, **options), show=False)
        assert got == target
        return target.read_bytes()

    return run


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_a_whole_file_comes_once_and_under_its_name(fetch, server, tmp_path):
    digest = hashlib.sha256(DATA).hexdigest()
    assert fetch("good", sha256=digest) == DATA
    assert fetch("good", sha256=digest) == DATA
    assert server.asked["/good"] == 1
    assert left(tmp_path) == ["weights.pth"]


@pytest.mark.parametrize("path", ["cut", "silent"])
def test_of_a_line_that_breaks_nothing_is_kept(path, fetch, tmp_path):
    with pytest.raises(DownloadError, match=r"the connection broke.*Try again.*offline.*mitonb models import"):
        fetch(path, patience=0.4)
    assert left(tmp_path) == []


def test_what_came_of_a_line_that_breaks_is_gone_on_with(fetch, server, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("tagged")
    (part,) = left(tmp_path)
    came = (tmp_path / part).read_bytes()
    assert came
    assert DATA.startswith(came)
    assert fetch("tagged", sha256=hashlib.sha256(DATA).hexdigest()) == DATA
    assert server.ranges == [None, f"bytes={len(came)}-"]
    assert left(tmp_path) == ["weights.pth"]


def test_a_file_that_came_whole_before_the_line_broke_is_not_fetched_again(fetch, server, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("nearly")
    assert (tmp_path / left(tmp_path)[0]).read_bytes() == CHUNKS
    assert fetch("nearly", sha256=hashlib.sha256(CHUNKS).hexdigest()) == CHUNKS
    assert server.ranges == [None, f"bytes={len(CHUNKS)}-"]


def test_of_a_file_that_was_replaced_meanwhile_nothing_is_gone_on_with(fetch, server, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("tagged")
    server.body = b"new" * 50_000
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("tagged")
    assert fetch("tagged") == server.body


def test_a_server_that_is_busy_takes_nothing_of_what_came(fetch, server, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("tagged")
    for path, said in (("always_busy", "answered 503"), ("too_many", "answered 429")):
        with pytest.raises(DownloadError, match=said):
            fetch(path)
    assert fetch("tagged") == DATA
    assert server.ranges[1] is not None


def test_of_two_parts_the_bytes_and_the_tag_are_of_the_same(fetch, server, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("tagged")
    for k in range(9):  # these cannot take the place of a file
        (tmp_path / f".weights.pth.{b'tag'.hex()}{k + 30}.part").mkdir()
    assert fetch("tagged") == DATA


def test_what_came_of_a_stopped_fetch_is_gone_on_with(fetch, server, tmp_path):
    steps = fetching(f"http://127.0.0.1:{server.server_port}/dated", tmp_path / "weights.pth")
    while next(steps).done < 200_000:
        pass
    steps.close()
    (part,) = left(tmp_path)
    assert DATA.startswith((tmp_path / part).read_bytes())
    assert fetch("dated") == DATA


def test_another_part_than_was_asked_for_is_refused(fetch, tmp_path):
    with pytest.raises(DownloadError, match="the connection broke"):
        fetch("confused")
    with pytest.raises(DownloadError, match="another part"):
        fetch("confused")
    assert left(tmp_path) == []


def test_a_cancelled_fetch_leaves_nothing(fetch, server, tmp_path):
    steps = fetching(f"http://127.0.0.1:{server.server_port}/steady", tmp_path / "weights.pth")
    next(steps)
    steps.close()
    assert left(tmp_path) == []
    assert fetch("steady") == DATA


def test_another_file_than_the_pinned_one_is_refused_loudly_and_thrown_away(fetch, tmp_path):
    with pytest.raises(
        ChecksumError, match=rf"sha256:{hashlib.sha256(DATA).hexdigest()}.*sha256:{'0' * 64} was pinned"
    ):
        fetch("good", sha256="0" * 64)
    assert left(tmp_path) == []


def test_what_its_check_refuses_never_gets_its_name(fetch, tmp_path):
    def check(part):
        assert part.read_bytes() == DATA
        raise ModelError("no net")

    with pytest.raises(ModelError, match="no net"):
        fetch("good", check=check)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("always_busy", "answered 503"), ("missing", "answered 404.*moved or no longer exists"), ("page", "web page"),
        ("silent", "(cannot be reached|broke).*timed out"), ("to_file", "only addresses that begin with https"),
        ("to_plain", "example.org.*https://"), ("to_other", "another server"),
        ("round_and_round", "redirects"),
    ],
)  # fmt: skip
def test_servers_that_are_no_good_are_told_apart(path, said, fetch, tmp_path):
    with pytest.raises(DownloadError, match=f"(?s){said}"):
        fetch(path, patience=0.4)
    assert "weights.pth" not in left(tmp_path)


def test_a_redirect_within_the_same_server_is_followed(fetch):
    assert fetch("to_good") == DATA


def test_files_without_end_are_refused(fetch, tmp_path):
    with pytest.raises(TooLargeError, match="at most"):
        fetch("huge")
    with pytest.raises(TooLargeError, match="more than"):
        fetch("endless", most=300_000)
    assert left(tmp_path) == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(fetch, tmp_path):
    with pytest.raises(DownloadError, match=r"disk of .* is full .*MB are free.*MITONB_MODEL_DIR"):
        fetch("huge", most=10**15)
    assert left(tmp_path) == []


def test_without_a_network_it_says_how_to_do_without(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DownloadError, match=r"connection broke \((Failed|\[Errno).*offline.*mitonb models import"):
        drain(fetching("http://127.0.0.1:1/weights", tmp_path / "weights.pth"), show=False)


@pytest.mark.parametrize(
    "address", ["http://example.org/x", "ftp://example.org/x", "file:///etc/passwd", "https://", "x"]
)
def test_only_https_is_asked(address, tmp_path):
    with pytest.raises(DownloadError, match="only addresses that begin with https"):
        drain(fetching(address, tmp_path / "x"), show=False)
    assert list(tmp_path.iterdir()) == []


def test_two_that_fetch_the_same_file_both_get_it(fetch):
    got: list[bytes] = []
    both = [threading.Thread(target=lambda: got.append(fetch("steady"))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert got == [DATA, DATA]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate of this test, and is not here")
def test_a_server_that_cannot_prove_who_it_is_is_refused(server, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(
        ["openssl", *words, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(DownloadError, match="could not prove who it is"):
        drain(
            fetching(f"https://localhost:{server.server_port}/good", tmp_path / "weights.pth", patience=2), show=False
        )
    assert server.asked["/good"] == 0
