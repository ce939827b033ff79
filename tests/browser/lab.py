"""A real JupyterLab in a real Chromium, for tests, benchmarks and screenshots.

    with Lab(tmp_path) as lab:                                # server + browser: about 3 s
        book = lab.notebook(["import mitonb as mn", "mn.view(*mn.phantom())"], width=1280, theme="light")
        book.run()                                            # all cells; raises with the traceback if one fails
        book.wait("document.querySelector('.mitonb-viewer')?.dataset.state === 'ready'")
        book.shot("viewer-1280-light.png")

Nothing here waits for seconds: everything waits for a state of the page, with a limit.
"""

from __future__ import annotations

import ast
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import nbformat
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = ["Lab", "Notebook", "Theme", "chromium", "poll", "why_not"]

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = (
    # --no-sandbox: CI runs as root, where the sandbox cannot start. The rest keeps the browser off the network.
    "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic", "--disable-default-apps", "--disable-dev-shm-usage",
    # Without a graphics card the page itself is put together faster by the processor than by software GL.
    "--disable-gpu-compositing", "--disable-gpu-rasterization",
)  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    },
    # A test must see every cell, also those below the edge of the window.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}  # fmt: skip
IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
Theme = Literal["light", "dark"]


def chromium() -> str | None:
    """Path of the browser: MITONB_CHROMIUM, or the first Chromium or Chrome on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("MITONB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def why_not() -> str:
    """Why a browser test cannot run here ("" if it can); meant for pytest.skip."""
    return "" if chromium() else "No Chromium found: install one, or name it in MITONB_CHROMIUM."


def poll(what: Callable[[], Any], message: Callable[[], str] | str, timeout: float, every: float = 0.05) -> Any:
    """Call until the answer is true, and return it."""
    end = time.monotonic() + timeout
    while True:
        if answer := what():
            return answer
        if time.monotonic() > end:
            raise TimeoutError(message if isinstance(message, str) else message())
        time.sleep(every)


class Lab:
    """A JupyterLab server with folders of its own, and a browser.

    Parameters
    ----------
    folder : path
        Notebooks, settings and logs go there; nothing of the user's own Jupyter is read or written.
    env : mapping
        More environment variables for server and kernels.
    headed : bool
        Show the browser window.
    """

    def __init__(self, folder: Path | str, *, env: dict[str, str] | None = None, headed: bool = False) -> None:
        self.folder = Path(folder)
        self.files = self.folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(16)
        self.outside: list[str] = []
        self.log = self.folder / "server.log"
        self._server = self._start_server(env or {})
        try:
            poll(self._answers, lambda: f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}", 60)
        except BaseException:
            self._server.terminate()
            raise
        self._headed = headed
        self._driver: Playwright | None = None
        self._browser: Browser | None = None
        self._context: BrowserContext | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server; its children are the kernels."""
        return self._server.pid

    @property
    def browser(self) -> Browser:
        """The browser, started when it is needed first."""
        if self._browser is None:
            self._driver = sync_playwright().start()
            self._browser = self._driver.chromium.launch(
                executable_path=chromium(), headless=not self._headed, args=list(CHROMIUM_FLAGS)
            )
        return self._browser

    def notebook(
        self,
        cells: Sequence[str] | Path,
        *,
        name: str = "test.ipynb",
        width: int = 1280,
        height: int = 900,
        theme: Theme = "light",
        sidebar: bool = False,
        timeout: float = 60,
    ) -> Notebook:
        """Open a notebook in a new window, given as code cells or as a file to copy, and wait for its kernel."""
        self.write(cells, name)
        return self.open(name, width=width, height=height, theme=theme, sidebar=sidebar, timeout=timeout)

    def write(self, cells: Sequence[str] | Path, name: str) -> Path:
        """Write a notebook into the `files` folder, given as code cells or as a file to copy."""
        path = self.files / name
        if isinstance(cells, Path):
            shutil.copyfile(cells, path)
        else:
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
            book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
            nbformat.write(book, path)
        return path

    def address(self, name: str) -> str:
        """Address of a notebook of the `files` folder in JupyterLab."""
        return f"{self.url}/lab/tree/{name}?reset&token={self.token}"

    def open(
        self,
        name: str,
        *,
        width: int = 1280,
        height: int = 900,
        theme: Theme = "light",
        sidebar: bool = False,
        timeout: float = 60,
    ) -> Notebook:
        """Open a notebook of the `files` folder in a new window (a second one gives a second view of it)."""
        if self._context is None:  # one for all windows: what JupyterLab is made of is then read and compiled once
            self._context = self.browser.new_context(reduced_motion="reduce")
            self._context.on("request", self._note_request)
        page = self._context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        return Notebook(self, page, name, theme=theme, sidebar=sidebar, timeout=timeout)

    def clear(self) -> None:
        """Close all windows, end all kernels and delete all files, as after a start; server and browser stay."""
        if self._context is not None:
            for page in self._context.pages:
                page.close()
            self._context.clear_permissions()
        for session in json.loads(self._ask("GET", "sessions")):
            self._ask("DELETE", f"sessions/{session['id']}")
        for path in self.files.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.outside.clear()

    def close(self) -> None:
        """Close browser, kernels and server."""
        if self._browser and self._driver:
            self._browser.close()
            self._driver.stop()
        self._server.terminate()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _note_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def _ask(self, method: str, what: str, timeout: float = 60) -> bytes:
        request = urllib.request.Request(f"{self.url}/api/{what}?token={self.token}", method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return bytes(answer.read())

    def _answers(self) -> bool:
        if self._server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended at once:\n{self.log.read_text()[-3000:]}")
        try:
            return bool(self._ask("GET", "status", timeout=1))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _start_server(self, env: dict[str, str]) -> subprocess.Popen[bytes]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        own = {name: str(self.folder / name.lower()) for name in (
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
        )}  # fmt: skip
        for plugin, values in SETTINGS.items():
            path = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}",
            "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.files}", "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=", "--LabApp.extension_manager=readonly",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.files,
                env={**os.environ, "PYTHONPATH": paths, **own, "JUPYTER_TOKEN": self.token, **env},
            )  # fmt: skip


class Notebook:
    """An open notebook: run cells, ask the page, take pictures. Cells are counted from 0."""

    def __init__(self, lab: Lab, page: Page, name: str, *, theme: Theme, sidebar: bool, timeout: float) -> None:
        self.lab, self.page, self.name = lab, page, name
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.set_default_timeout(1000 * timeout)
        page.goto(lab.address(name))
        # Without this, a page that does not have the window's focus has no current widget.
        page.context.new_cdp_session(page).send("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self.wait(f"{IDLE} === 'idle'", timeout)
        self.wait("!document.getElementById('jupyterlab-splash')", timeout)
        self.theme(theme)  # the server keeps that of the notebook before
        if not sidebar:
            self.js("() => { jupyterapp.shell.collapseLeft(); jupyterapp.shell.collapseRight(); }")

    def js(self, code: str, argument: Any = None) -> Any:
        """Evaluate an expression, or call a function with one argument, in the page."""
        return self.page.evaluate(code, argument)

    def wait(self, condition: str, timeout: float = 30, every: float = 0.05) -> Any:
        """Wait until a JavaScript expression is true; return its value.

        Polled from here: Playwright's own wait_for_function hangs on animation frames, which starve under software GL.
        """
        return poll(lambda: self.page.evaluate(condition), lambda: self._why(condition, timeout), timeout, every)

    def run(self, index: int | None = None, *, timeout: float = 120, check: bool = True) -> None:
        """Run one cell, or all, and wait for the end.

        Raises
        ------
        AssertionError
            If `check` and a cell failed; the message is its traceback.
        """
        self.start(index)
        self.wait("window.__ran === true", timeout)
        if check and (error := self.error()):
            raise AssertionError(f"A cell of {self.name} failed:\n{error}")

    def start(self, index: int | None = None) -> None:
        """Start one cell, or all, without waiting."""
        code = """i => {
            const content = jupyterapp.shell.currentWidget.content;
            window.__ran = false;
            if (i !== null) { content.deselectAll(); content.activeCellIndex = i; }
            jupyterapp.commands.execute(i === null ? 'notebook:run-all-cells' : 'notebook:run-cell')
                .finally(() => { window.__ran = true; });
        }"""
        self.js(code, index)

    def add(self, source: str, *, timeout: float = 120, check: bool = True) -> int:
        """Append a code cell, run it, and return its index."""
        index: int = self.js(
            """source => {
                const model = jupyterapp.shell.currentWidget.model.sharedModel;
                model.addCell({cell_type: 'code', source});
                return model.cells.length - 1;
            }""",
            source,
        )
        self.run(index, timeout=timeout, check=check)
        return index

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as nbformat dicts."""
        found: list[dict[str, Any]] = self.js(
            "i => jupyterapp.shell.currentWidget.model.sharedModel.toJSON().cells[i].outputs ?? []", index
        )
        return found

    def text(self, index: int) -> str:
        """Return what a cell printed or returned, as text."""
        parts = []
        for output in self.outputs(index):
            value = output.get("text", output.get("data", {}).get("text/plain", ""))
            parts.append("".join(value))
        return "".join(parts)

    def ask(self, expression: str, *, timeout: float = 60) -> str:
        """Evaluate Python in the kernel; return what print would write of it."""
        answer: str = ast.literal_eval(self.evaluate(f"' '.join(map(str, ({expression},)))", timeout=timeout))
        return answer

    def evaluate(self, expression: str, *, after: str = "", timeout: float = 60) -> str:
        """Evaluate Python in the kernel, after some code and without a cell; return the repr of its value."""
        answer: str = self.js(
            """async ([code, expression, seconds]) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, user_expressions: {it: expression}, store_history: false});
                const late = new Promise((_, no) => setTimeout(no, 1000 * seconds, new Error('no answer in time')));
                const {user_expressions, ename, evalue} = (await Promise.race([future.done, late])).content;
                const it = user_expressions?.it ?? {status: 'error', ename, evalue};
                return it.status === 'ok' ? it.data['text/plain'] : 'raise ' + it.ename + ': ' + it.evalue;
            }""",
            [after, expression, timeout],
        )
        assert not answer.startswith("raise "), f"{expression}: {answer}"
        return answer

    def error(self) -> str:
        """Return the traceback of the first cell that failed, or ""."""
        count: int = self.js("jupyterapp.shell.currentWidget.model.cells.length")
        for index in range(count):
            for output in self.outputs(index):
                if output["output_type"] == "error":
                    return f"cell {index}: " + "\n".join(output["traceback"])
        return ""

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Execute a JupyterLab command, such as "docmanager:save", and wait for it."""
        self.js(
            """([name, args]) => {
                window.__done = false;
                jupyterapp.commands.execute(name, args ?? {}).finally(() => { window.__done = true; });
            }""",
            [name, arguments],
        )
        self.wait("window.__done === true")

    def reload(self, timeout: float = 60) -> None:
        """Load the page again, as it is saved, and wait for its kernel."""
        self.page.reload()
        self.wait(f"{IDLE} === 'idle'", timeout)
        self.wait("!document.getElementById('jupyterlab-splash')", timeout)

    def restart_kernel(self, timeout: float = 60) -> None:
        """Restart the kernel without the dialog, and wait until it is idle."""
        self.js("""() => { window.__restarted = false;
            jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()
                .then(() => { window.__restarted = true; }); }""")
        self.wait(f"window.__restarted && {IDLE} === 'idle'", timeout)

    def theme(self, theme: Theme) -> None:
        """Switch JupyterLab to its light or dark theme."""
        self.command("apputils:change-theme", {"theme": THEMES[theme]})
        self.wait(f"document.body.dataset.jpThemeLight === '{'true' if theme == 'light' else 'false'}'")
        self.wait("!document.getElementById('jupyterlab-splash')")

    def resize(self, width: int, height: int = 900) -> None:
        """Resize the window."""
        self.page.set_viewport_size({"width": width, "height": height})

    def shot(self, path: Path | str, *, selector: str | None = None) -> Path:
        """Save a picture of the window, or of the first element that a CSS selector finds."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if selector:
            self.page.locator(selector).first.screenshot(path=path, timeout=60_000)
        else:
            self.page.screenshot(path=path, timeout=60_000)
        return path

    def close(self) -> None:
        """Close the window; the kernel goes on."""
        self.page.close()

    def _why(self, condition: str, timeout: float) -> str:
        parts = [f"Waited {timeout:g} s in vain for: {condition}", *self.errors[-5:]]
        try:
            parts.append(self.error())
        except Error as error:  # the page may be gone, and the first message matters more
            parts.append(f"(the notebook could not be read: {error})")
        return "\n".join(filter(None, parts))
