"""A server of files on this machine, as a web server or an S3-like one answers: ranges, no listing, and faults."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server:
    """What is served, what was asked for, and what goes wrong.

    Attributes
    ----------
    address : str
        http://127.0.0.1:port, of the folder.
    asked : list of str
        Paths in the order of the questions.
    fault : dict
        What happens to questions whose path holds the key: "hang", "cut", "redirect", "whole" (no parts of files are
        given), "none" (no part is there, and the whole is), "packed" (with gzip, on its way), or the number of an
        answer.
    sent : int
        Bytes of all answers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.fault, self.over = folder, list[str](), dict[str, str | int](), threading.Event()
        self.sent, server = 0, self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two small packets, and the second would wait

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(b"", 200)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                server.asked.append(path)
                fault = next((what for part, what in server.fault.items() if part in path), None)
                file = server.folder / path.strip("/")
                if fault == "hang":
                    server.over.wait(60)
                elif fault == "redirect":
                    self.answer(b"", 302, Location="file:///etc/passwd")
                elif isinstance(fault, int):
                    self.answer(b"", fault)
                elif not file.is_file():
                    self.answer(b"", 404)
                elif fault == "none" and "Range" in self.headers:
                    self.answer(b"", 416)
                elif fault == "packed":
                    self.part_of(gzip.compress(file.read_bytes()), **{"Content-Encoding": "gzip"})
                elif fault in ("whole", "none"):
                    self.answer(file.read_bytes(), 200)
                elif fault == "cut":
                    self.answer(file.read_bytes(), 200, cut=True)
                else:
                    self.part_of(file.read_bytes())

            def part_of(self, whole: bytes, **headers: str) -> None:
                asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
                if asked is None:
                    return self.answer(whole, 200, **headers)
                if not asked[1]:
                    start, stop = max(0, len(whole) - int(asked[2])), len(whole)
                else:
                    start, stop = int(asked[1]), min(int(asked[2] or len(whole)) + 1, len(whole))
                if start >= len(whole):
                    return self.answer(b"", 416)
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(whole)}"
                return self.answer(whole[start:stop], 206, **headers)

            def answer(self, body: bytes, status: int, *, cut: bool = False, **headers: str) -> None:
                server.sent += len(body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), "ETag": '"1"', **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = cut

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        """Answer nothing any more."""
        self.over.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder for the time of a block."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()
