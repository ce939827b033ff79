#!/usr/bin/env python3
"""Set mitonb up in an environment of its own, then open it, run it, or test it. Needs nothing but Python.

On Windows, write py instead of python3.

    python3 start.py             open JupyterLab on the quickstart
    python3 start.py headless    run the quickstart to its end; results stay under results/headless
    python3 start.py test        linting, types, all tests, with a real browser

Every form may be run again (the second time it starts at once) and beside another copy.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent
ARTIFACTS = ROOT / "artifacts"
PINS = ROOT / "requirements"
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
TORCH = "torch>=2.10,<3"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STAMP = "mitonb-stamp.json"
EXTRAS = {"lab": ["lab"], "test": ["lab", "test", "dev", "docs"], "torch-free": ["test"]}
NO_TORCH = """No CPU build of PyTorch can be reached for Python {version}: neither among the local wheels that pip knows
(PIP_FIND_LINKS), nor at {index}, nor on the package index (there it would bring gigabytes of CUDA).
Check the network, use another Python of 3.11 to 3.14, or take the CUDA build on purpose with --cuda (about 6 GB)."""


class SetupError(Exception):
    """The set-up cannot go on; the message says what to do."""


# ---------------------------------------------------------------------------------------------- the three commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    options = parse(arguments)
    # As an exception, SIGTERM passes through subprocess.call, which ends what it waits for.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if sys.version_info[:2] not in PYTHONS:
        return with_another_python()
    try:
        if options.command == "test":
            return test(options)
        python = set_up("lab", options)
        return headless(python) if options.command == "headless" else lab(python, options)
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", default="lab", choices=["lab", "headless", "test"])
    parser.add_argument("--env", type=Path, help="folder of the environment (default: .venv beside this file)")
    parser.add_argument("--cuda", action="store_true", help="take the CUDA build of PyTorch (about 6 GB)")
    parser.add_argument("--cpu", action="store_true", help="take the CPU build even where there is an NVIDIA GPU")
    parser.add_argument(
        "--unpinned", action="store_true", help="take the newest libraries instead of the versions that were tested"
    )
    parser.add_argument("--torch-free", action="store_true", help="test: only what needs no PyTorch and no browser")
    parser.add_argument("--no-browser", action="store_true", help="lab: print the address instead of opening it")
    return parser.parse_args(arguments)


def lab(python: Path, options: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the quickstart, so that the original stays as it came."""
    say("Opening JupyterLab on the quickstart. Run its cells with Shift-Enter; stop here with Ctrl-C, twice.")
    (ROOT / "results").mkdir(exist_ok=True)
    command = [str(python), "-m", "mitonb", "lab", "--folder", str(ROOT / "results")]
    return become([*command, "--no-browser"] if options.no_browser else command)


def headless(python: Path) -> int:
    """Execute the quickstart; leave the executed notebook and what it wrote."""
    out = ROOT / "results" / "headless"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    book = shutil.copy(ROOT / "notebooks" / "00_quickstart.ipynb", out)
    say(f"Running the quickstart to its end in {show(out)}; this takes about two minutes.")
    start = time.monotonic()
    code = subprocess.call(
        [str(python), "-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace",
         "--ExecutePreprocessor.timeout=600", "--log-level=WARN", book],
        cwd=out,
    )  # fmt: skip
    if code:
        print(f"The quickstart stopped with an error, shown above (exit code {code}).", file=sys.stderr)
        return code
    say(f"Done in {time.monotonic() - start:.0f} s{peak_memory()}. Left there:")
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        print(f"      {show(path):50} {human(path.stat().st_size)}")
    return 0


def test(options: argparse.Namespace) -> int:
    """Run every check; all of them, also when one fails."""
    python = set_up("torch-free" if options.torch_free else "test", options)
    results: list[tuple[str, int]] = []

    def check(name: str, *command: object, env: dict[str, str] | None = None, show: bool = True) -> None:
        say(f"{name}: {' '.join(str(c) for c in command)}".replace(str(ROOT) + os.sep, ""))
        log = ARTIFACTS / f"{name.replace(' ', '-')}.log"
        results.append((name, tee([str(c) for c in command], log, {**os.environ, **(env or {})}, show=show)))

    tag = "pytest-{}.{}".format(*sys.version_info[:2])
    if options.torch_free:
        check(f"{tag}-torch-free", python, "-m", "pytest", "-m", "not browser and not notebook")
    else:
        check("lint", python, "-m", "ruff", "check", ".")
        javascript(python, check)  # it brings what a test of the page needs
        browser = find_browser(python)
        # Beside a browser and a server, threads of torch that spin while they wait take the cores from everybody.
        env = {"OMP_WAIT_POLICY": "PASSIVE"} | ({"MITONB_CHROMIUM": browser} if browser else {})
        run = [python, "-m", "pytest", "--durations=60"]
        # Two at a time, since most of what they do uses one core; the one with the browser is shown when it has ended.
        with tempfile.TemporaryDirectory() as folder:
            seen = [*run, "-m", "browser or notebook", f"--basetemp={folder}/tests"]
            beside = threading.Thread(
                target=check, args=(f"{tag}-browser", *seen), kwargs={"env": env, "show": False}, daemon=True
            )
            beside.start()
            check("types", python, "-m", "mypy")
            check("docs", python, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", ARTIFACTS / "docs")
            check(tag, *run, "-m", "not browser and not notebook", env=env)
            beside.join()
        print(read_text(ARTIFACTS / f"{tag}-browser.log"))
    print()
    for name, code in results:
        print(f"   {'ok    ' if code == 0 else 'FAILED'} {name}" + (f" (exit code {code})" if code else ""))
    print(f"   Logs and screenshots: {show(ARTIFACTS)}")
    for name, _ in results:
        if name.startswith("pytest"):
            print(closing_line(ARTIFACTS / f"{name}.log"))
    return max(code for _, code in results)


def javascript(python: Path, check: Callable[..., None]) -> None:
    """Test the JavaScript with the node of this machine, or with the one that Playwright brings."""
    tests = sorted((ROOT / "tests" / "js").glob("*.test.*"))
    if not tests:  # without names node would search the whole checkout, environments included
        return
    node = shutil.which("node")
    if not node or version_of(node) < (20,):
        found = capture(
            [str(python), "-c", "from playwright._impl._driver import compute_driver_executable as f; print(f()[0])"]
        )
        node = found.strip() or None
    if not node:
        say("js: SKIPPED, no node of version 20 or later here.")
        return
    if (npm := shutil.which("npm")) and not (ROOT / "node_modules").exists():
        # What the browser tests take from there, axe-core; without it one of them skips.
        subprocess.call([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=ROOT)
    check("js", node, "--test", *tests)


# ------------------------------------------------------------------------------------------------- the environment


def set_up(profile: str, options: argparse.Namespace) -> Path:
    """Make the environment if it is not there or no longer fits; return its Python."""
    version = "{}.{}".format(*sys.version_info[:2])
    env = options.env or ROOT / (f".env-{version}" if profile == "torch-free" else ".venv")
    python = env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ARTIFACTS.mkdir(exist_ok=True)
    with one_at_a_time(ARTIFACTS / f"setup-{env.name}.lock"):
        stamp = read_stamp(env)
        if env.exists() and not stamp and any(env.iterdir()):
            raise SetupError(f"{env} was not made by start.py. Move it away, or name another folder with --env.")
        described = b"".join(p.read_bytes() for p in (ROOT / "pyproject.toml", *sorted(PINS.glob("*.txt"))))
        fingerprint = hashlib.sha256(described).hexdigest()[:16]
        fits = stamp.get("python") == version and stamp.get("pyproject") == fingerprint and python.exists()
        fits = fits and not (options.cuda and stamp.get("torch") != "cuda")
        if fits and profile in stamp.get("profiles", []):
            say(f"The environment {show(env)} is ready ({stamp.get('size', '?')}, Python {version}).")
            return python
        if stamp.get("python") not in (None, version):
            say(f"{show(env)} was made with Python {stamp['python']}; making it anew with {version}.")
            shutil.rmtree(env)
        fill(env, python, profile, version, fingerprint, options)
    return python


def fill(env: Path, python: Path, profile: str, version: str, fingerprint: str, options: argparse.Namespace) -> None:
    """Install everything, and say what it cost."""
    start = time.monotonic()
    log = ARTIFACTS / f"setup-{env.name}.log"
    log.write_text("", encoding="utf-8")
    say(f"Setting up {show(env)} with Python {version}: a few minutes and about 2 GB of disk the first time.")
    print(f"      What pip says goes to {show(log)}.")
    if not python.exists():
        say("1/3  An empty environment")
        make_env(env, python, log)
    done = read_stamp(env).get("profiles", [])
    # Written early and without a profile: a set-up that was interrupted is known as ours, and is taken up again.
    write_stamp(env, {"python": version, "profiles": []})

    say("2/3  PyTorch")
    torch = "none" if profile == "torch-free" else install_torch(python, log, options)
    if torch == "none" and profile == "lab":
        raise SetupError(NO_TORCH.format(version=version, index=TORCH_CPU_INDEX))
    if torch == "none" and profile == "test":
        print(NO_TORCH.format(version=version, index=TORCH_CPU_INDEX))
        print("Going on without: tests that need it SKIP.")

    profiles = sorted({*done, profile})
    # OpenVINO runs networks where there is no GPU for it.
    network = {"none": set(), "cuda": {"torch"}}.get(torch, {"torch", "fast"})
    extras = sorted({e for p in profiles for e in EXTRAS[p]} | network)
    say(f"3/3  mitonb and what it needs ({', '.join(extras)})")
    install(python, log, extras, pinned=not options.unpinned)

    size = human(folder_size(env))
    write_stamp(env, {
        "python": version, "pyproject": fingerprint, "profiles": profiles, "torch": torch, "size": size,
    })  # fmt: skip
    say(f"Ready after {(time.monotonic() - start) / 60:.1f} min: environment {size}, {downloaded(log)}.")


def install(python: Path, log: Path, extras: Sequence[str], *, pinned: bool) -> None:
    """Install the tested versions of all libraries, checked by their hashes, and then mitonb itself.

    Pins that cannot be had here (a package that was withdrawn, a mirror without it) are no reason to stop: then the
    newest versions within the bounds of pyproject.toml are taken. A file that is not what was pinned is a reason.
    """
    editable = ["--editable", f"{ROOT}[{','.join(extras)}]"]
    files = [PINS / f"{name}.txt" for name in ("base", *extras)]
    if pinned and all(file.exists() for file in files):
        options = [part for file in files for part in ("--requirement", str(file))]
        before = len(read_text(log))
        if run([str(python), "-m", "pip", "install", "--require-hashes", *options], log) == 0:
            pip(python, log, "install", "--no-build-isolation", *editable)  # what it is built with is pinned, too
            return
        if "DO NOT MATCH THE HASHES" in read_text(log)[before:]:
            raise SetupError(
                f"A package that pip fetched is not the one that was tested: its hash differs (see {show(log)}).\n"
                "It was not installed. Try again on another network; if you know that your package mirror builds its "
                "own files and you trust it, add --unpinned."
            )
        print("      The tested versions cannot be installed here; taking the newest that should work instead.")
    pip(python, log, "install", *editable)


def make_env(env: Path, python: Path, log: Path) -> None:
    """Make an empty environment, also with the halved venv module of Debian and Ubuntu."""
    if run([sys.executable, "-m", "venv", str(env)], log) == 0:
        return
    shutil.rmtree(env, ignore_errors=True)
    # Debian keeps pip for new environments in a package of its own; a pip that is here already can fill in.
    if run([sys.executable, "-m", "venv", "--without-pip", str(env)], log) == 0:
        if run([sys.executable, "-m", "pip", "--python", str(python), "install", "pip"], log) == 0:
            return
        shutil.rmtree(env, ignore_errors=True)
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    if apt_install(package, log) and run([sys.executable, "-m", "venv", str(env)], log) == 0:
        return
    raise SetupError(
        f"Python cannot make an environment here (its module venv is not whole; see {show(log)}).\n"
        f"On Debian or Ubuntu: sudo apt-get install {package}. Elsewhere: install Python 3.11 to 3.14 from python.org."
    )


def install_torch(python: Path, log: Path, options: argparse.Namespace) -> str:
    """Install PyTorch; return "cpu", "cuda" or "none". CUDA comes only where it is of use, or asked for."""
    installed = capture([str(python), "-m", "pip", "list"])
    if re.search(r"^torch ", installed, re.MULTILINE):
        build = "cuda" if "nvidia-" in installed else "cpu"
        if build == "cuda" or not options.cuda:
            print("      is there already.")
            return build
        # To pip, the CPU build that is there is what is asked for.
        pip(python, log, "uninstall", "--yes", "torch")
    if options.cuda or (has_nvidia() and not options.cpu):
        why = "asked for" if options.cuda else "an NVIDIA GPU is here; --cpu takes the small one"
        print(f"      CUDA build ({why}): about 3 GB to download, 6 GB on disk.")
        pip(python, log, "install", TORCH)
        return "cuda"
    for where, source in torch_sources():
        if not is_light(python, log, source):
            continue
        print(f"      CPU build from {where}.")
        if run([str(python), "-m", "pip", "install", "--no-deps", *source, TORCH], log) == 0:
            return "cpu"
    return "none"


def torch_sources() -> Iterator[tuple[str, list[str]]]:
    """Yield where a CPU build may be, as words and as pip options."""
    # Without an index pip sees local wheels only (PIP_FIND_LINKS, pip.conf): nothing big can slip in.
    yield "a local wheel", ["--no-index"]
    if reachable(TORCH_CPU_INDEX + "/torch/"):
        yield "PyTorch's own index of CPU builds, about 190 MB", ["--index-url", TORCH_CPU_INDEX]
    if not (sys.platform == "linux" and platform.machine() == "x86_64"):
        # For macOS and Windows the package index has CPU builds; for Linux x86-64 only CUDA, so it is not even asked.
        yield "the package index", []


def is_light(python: Path, log: Path, source: Sequence[str]) -> bool:
    """Ask pip what it would install: a build that needs nvidia packages is refused."""
    report = log.with_suffix(".report.json")
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pip", "install", "--dry-run", "--no-deps", "--report", str(report), *source, TORCH]
    if run(command, log) != 0 or not report.exists():
        return False
    needs = [
        need
        for item in json.loads(report.read_text(encoding="utf-8"))["install"]
        for need in item["metadata"].get("requires_dist", [])
    ]
    report.unlink()
    heavy = cuda_needs(needs)
    if heavy:
        print(f"      not the one from {' '.join(source) or 'the package index'}: it brings {heavy[0].split(';')[0]}.")
    return not heavy


def cuda_needs(needs: Sequence[str]) -> list[str]:
    """Return those requirements of a wheel that would bring CUDA to this machine."""
    found = []
    for need in needs:
        marker = need.partition(";")[2]
        elsewhere = "Linux" in marker and sys.platform != "linux"
        elsewhere = elsewhere or ("x86_64" in marker and platform.machine() != "x86_64")
        if re.match(r"(nvidia|cuda|triton)\b", need) and "extra" not in marker and not elsewhere:
            found.append(need)
    return found


def has_nvidia() -> bool:
    """Whether the driver lists a GPU."""
    return "GPU 0" in capture(["nvidia-smi", "-L"])


def reachable(address: str) -> bool:
    """Whether an address answers within five seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5):
            return True
    except (OSError, ValueError, urllib.error.URLError):
        return False


# ---------------------------------------------------------------------------------------------------- the browser


def find_browser(python: Path) -> str | None:
    """Return a Chromium that runs, installing one if need be; None (and a word) if there is no way."""
    log = ARTIFACTS / "browser-setup.log"
    if found := working_browser(python):
        say(f"Browser: {found}")
        return found
    say("Browser: none here; installing Chromium (about 250 MB)")
    # Ubuntu's apt package is a stub for snap, which containers do not have: there Playwright's own build comes first.
    ways = {"apt": lambda: apt_install("chromium", log), "playwright": lambda: playwright_install(python, log)}
    first = "playwright" if "ID=ubuntu" in read_text(Path("/etc/os-release")) else "apt"
    for way in sorted(ways, key=lambda name: name != first):
        ways[way]()
        if found := working_browser(python):
            print(f"      {found}")
            return found
    print(
        f"      Chromium could not be installed (see {show(log)}): the browser tests SKIP.\n"
        "      Install Chromium or Chrome yourself, or name one in the environment variable MITONB_CHROMIUM."
    )
    return None


def working_browser(python: Path) -> str | None:
    """Return the first browser that tells its version."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    candidates = [os.environ.get("MITONB_CHROMIUM"), *map(shutil.which, names)]
    ask = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    for candidate in filter(None, candidates):
        if re.search(r"\d+\.\d+", capture([candidate, "--version", "--no-sandbox"])):
            return candidate
    own = capture([str(python), "-c", ask]).strip()
    return own if own and Path(own).exists() else None


def playwright_install(python: Path, log: Path) -> bool:
    """Let Playwright fetch its own Chromium; with the system's libraries where we may."""
    command = [str(python), "-m", "playwright", "install", "chromium"]
    if is_root() and shutil.which("apt-get") and run([*command, "--with-deps"], log) == 0:
        return True
    return run(command, log) == 0


def apt_install(package: str, log: Path) -> bool:
    """Install a Debian package if there is apt and we may: as root, or with sudo if the user says yes."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if is_root() else ["sudo"]
    if sudo and not may_use_sudo(package):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"      apt-get install {package}")
    if run([*sudo, "apt-get", "update", "-q"], log, environment) != 0:
        print("      apt-get update failed; trying with the lists that are here.")
    return run([*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", package], log, environment) == 0


def may_use_sudo(package: str) -> bool:
    """Ask before anything runs with sudo; where nobody can answer, the answer is no."""
    if not shutil.which("sudo") or not sys.stdin or not sys.stdin.isatty():
        return False
    if input(f"      Install {package} with sudo apt-get? [y/N] ").strip().lower() not in ("y", "yes"):
        return False
    return subprocess.call(["sudo", "-v"]) == 0  # sudo asks for the password here, where it can be typed


def is_root() -> bool:
    """Whether this process may install system packages."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


# ------------------------------------------------------------------------------------------------------ small things


def with_another_python() -> int:
    """Start again with a Python that fits, or say which one is needed."""
    for version in PYTHONS:
        name = "python{}.{}".format(*version)
        if shutil.which(name) and capture([name, "-c", "print('fits')"]).strip() == "fits":
            say(f"This is Python {sys.version.split()[0]}; going on with {name}.")
            return become([shutil.which(name) or name, str(Path(__file__).resolve()), *sys.argv[1:]])
    print(
        f"mitonb needs Python 3.11, 3.12, 3.13 or 3.14; this is {sys.version.split()[0]}, and no other was found.\n"
        "Install one (python.org, apt, brew, conda, uv), then: python3.11 start.py",
        file=sys.stderr,
    )
    return 2


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock that the system frees when this process ends, however it ends."""
    with path.open("a+b") as file:
        waiting = False
        while not locked(file.fileno()):
            if not waiting:
                say("Another copy of start.py is setting up here; waiting for it.")
            waiting = True
            time.sleep(1)
        yield


def locked(handle: int) -> bool:
    """Try to lock an open file."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def pip(python: Path, log: Path, *arguments: str) -> None:
    """Run pip, or stop with the end of what it said."""
    if run([str(python), "-m", "pip", *arguments], log) != 0:
        tail = "\n".join(read_text(log).splitlines()[-15:])
        raise SetupError(f"pip {arguments[0]} failed:\n{tail}\nThe whole log: {log}. Run the command again to retry.")


def become(command: Sequence[str]) -> int:
    """Go on as another program: what stops this process, such as SIGTERM, then reaches that program itself."""
    sys.stdout.flush()
    if os.name == "nt":  # there exec starts a second process and ends this one: the terminal would take it for the end
        return subprocess.call(list(command))
    os.execv(command[0], list(command))


def run(command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> int:
    """Run a command with its output in a log; return its exit code (127 if there is no such program)."""
    with log.open("ab") as out:
        out.write(f"\n$ {' '.join(command)}\n".encode())
        out.flush()
        try:
            return subprocess.call(
                list(command), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            out.write(f"{error}\n".encode())
            return 127


def tee(command: Sequence[str], log: Path, environment: dict[str, str], *, show: bool = True) -> int:
    """Run a command with its output in a log and, if it is to show, on the screen."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if show:
                    sys.stdout.buffer.write(line)
                    sys.stdout.flush()
                out.write(line)
                out.flush()
            return process.wait()
        finally:
            process.kill()  # only still alive when we are being stopped


def capture(command: Sequence[str]) -> str:
    """Return what a command prints, or "" if it cannot run."""
    try:
        return subprocess.run(
            list(command), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def version_of(program: str) -> tuple[int, ...]:
    """Return the version that a program tells, as numbers."""
    return tuple(int(n) for n in re.findall(r"\d+", capture([program, "--version"]))[:3])


def closing_line(log: Path) -> str:
    """Return the last line of a pytest log that tells how it went."""
    lines = [line for line in read_text(log).splitlines() if re.match(r"^=+ .* in .*=+$", line)]
    return lines[-1] if lines else ""


def downloaded(log: Path) -> str:
    """Sum up what pip says it fetched."""
    units = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
    text = read_text(log)
    fetched = sum(float(n) * units[u] for n, u in re.findall(r"Downloading \S+ \(([\d.]+) (kB|MB|GB)\)", text))
    local = {Path(name) for name in re.findall(r"Processing (\S+\.whl)", text)}
    there = sum(path.stat().st_size for path in local if path.exists())
    cached = len(re.findall(r"Using cached \S+\.whl", text))
    parts = [f"{human(fetched)} downloaded"]
    parts += [f"{human(there)} from wheels on this machine"] if there else []
    parts += [f"{cached} packages from pip's cache"] if cached else []
    return ", ".join(parts)


def read_stamp(env: Path) -> dict[str, Any]:
    """Return what an earlier set-up noted, or nothing."""
    try:
        stamp: dict[str, Any] = json.loads(read_text(env / STAMP) or "{}")
    except ValueError:
        return {}
    return stamp


def write_stamp(env: Path, stamp: dict[str, Any]) -> None:
    """Note what was set up; replaced in one step, so that it is never half-written."""
    part = env / (STAMP + ".part")
    part.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    part.replace(env / STAMP)


def read_text(path: Path) -> str:
    """Return a file's text, or "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(folder) for name in names)


def peak_memory() -> str:
    """Memory of the largest process that ran, where the system tells."""
    if sys.platform == "win32":
        return ""
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f", at most {human(peak)} of memory in one process"


def human(size: float) -> str:
    """Write bytes for people."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def show(path: Path) -> str:
    """Return a path as seen from here."""
    return os.path.relpath(path)


def say(text: str) -> None:
    """Print a step."""
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
