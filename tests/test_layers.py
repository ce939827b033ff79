"""The house stands: imports point downwards, heavy libraries stay in their rooms, the front door is light."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import mitonb

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mitonb"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "node_modules" not in p.parts)

NOUNS = {"errors", "box", "stack", "maps", "labels", "recipe", "job", "memory", "phantoms", "colors",
         "files", "mapped", "levels", "shapes", "centre_lines"}  # fmt: skip
CORE = NOUNS | {"models", "post"}
MIDDLE = {"io", "infer", "learn", "edit", "measurements", "accuracy", "mesh", "citing", "auditing", "details",
          "summaries", "cohorts", "mistakes"}  # fmt: skip
OWNERS = {"session", "plot", "reporting"}
# room -> the other rooms that it may import; arrows never point up (docs/design.md, the house)
MAY_IMPORT = {
    **dict.fromkeys(NOUNS, NOUNS),
    "post": NOUNS,
    "models": CORE,
    **dict.fromkeys(MIDDLE, CORE),
    "measurements": CORE | {"details"},
    "mistakes": CORE | {"accuracy", "details", "measurements"},
    "io": CORE | {"mesh"},  # surfaces go out with labels
    "infer": CORE | {"io", "citing"},
    "learn": CORE | {"io", "infer", "auditing", "accuracy", "citing"},
    **dict.fromkeys(OWNERS, CORE | MIDDLE),
    "reporting": CORE | MIDDLE | {"plot"},
    "lessons": CORE | MIDDLE | OWNERS,
    "checkup": CORE | MIDDLE | OWNERS,
    "widgets": CORE | MIDDLE | OWNERS,
    # "" is the front door itself: only the command line stands outside of the house.
    "cli": {""} | CORE | MIDDLE | OWNERS | {"widgets", "lessons", "checkup"},
    "__main__": {"cli"},
}
JUPYTER = {
    "IPython", "anywidget", "comm", "ipykernel", "ipyvolume", "ipywidgets", "jupyter_client", "jupyter_server",
    "jupyterlab", "nbclient", "nbconvert", "nbformat", "notebook", "pythreejs", "traitlets",
}  # fmt: skip
FORMATS = {"tifffile", "imagecodecs", "zarr", "h5py", "mrcfile", "nibabel", "nrrd", "imageio", "PIL"}
# library -> the rooms that may import it
ONLY_IN = {
    "torch": {"models", "infer", "learn"},
    "openvino": {"models", "infer", "learn"},
    "onnx": {"models"},
    "tensorstore": {"io"},
    **{name: {"widgets"} for name in JUPYTER},
    **{name: {"io"} for name in FORMATS},
    "imagecodecs": {"io", "widgets", "infer"},  # a page is shown PNG, and a package has a cover
    "IPython": {"widgets", "job"},  # in a notebook, progress is a line of text in the output
    "matplotlib": {"plot"},
    "safetensors": {"models"},
    "yaml": {"models", "infer"},
    "sqlite3": {"edit"},
}


def room(path: Path) -> str:
    """Return the room of a module: its sub-package, or its own name at the top."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0] if parts != ("__init__",) else "front door"


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, at its top and inside its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_never_point_up() -> None:
    wrong = []
    for path in MODULES:
        here = room(path)
        if here == "front door":
            continue
        assert here in MAY_IMPORT, f"{path.name} is a new room: give it its place in this table and in docs/design.md"
        for name in imports(path):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if top == "mitonb" and there not in {here, "__version__"} and there not in MAY_IMPORT[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Whoever reads a module can read what it needs first: imports for types and inside functions count, too."""
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in MODULES}
    needs: dict[str, set[str]] = {}
    for module, path in names.items():
        needed = set()
        for name in imports(path):
            while name and name not in names:  # a name in a module
                name = name.rpartition(".")[0]
            needed.add(name)
        needs[module] = needed - {"", module, "mitonb"}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1][::-1])) from None


def test_heavy_libraries_stay_in_their_rooms() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES
        for name in imports(path)
        if room(path) not in ONLY_IN.get(name.partition(".")[0], {room(path)})
    ]
    assert not wrong, "\n".join(wrong)


# What can run the contents of a file -> the modules that may name it: no file runs code unless its user says so.
RUNS_FILES = {
    "eval": set(), "exec": set(), "__import__": set(), "marshal": set(), "shelve": set(),
    "pickle": {"models/weights.py"},  # its reader, without what could import or call anything
    "dill": set(), "joblib": set(), "cloudpickle": set(), "torch.hub": set(), "torch.package": set(),
    "torch.export": set(),
    "torch.load": {"learn/loop.py"},  # its own checkpoints, weights_only
    "torch.jit.load": {"models/exchange.py"},  # for the hash that the user typed
    "yaml.load": set(), "yaml.unsafe_load": set(), "yaml.full_load": set(),
}  # fmt: skip


def spoken(path: Path) -> Iterator[str]:
    """Yield every dotted name that a module uses, and everything that it imports."""
    yield from imports(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call | ast.Attribute):
            text = ast.unparse(node.func if isinstance(node, ast.Call) else node)
            if re.fullmatch(r"[\w.]+", text):
                yield text


def test_nothing_runs_what_a_file_says() -> None:
    wrong = {
        f"{path.relative_to(PACKAGE).as_posix()} uses {name}"
        for path in MODULES
        for name in spoken(path)
        for banned, allowed in RUNS_FILES.items()
        if (name == banned or name.startswith(f"{banned}.")) and path.relative_to(PACKAGE).as_posix() not in allowed
    }
    assert not wrong


def test_only_the_download_speaks_to_the_network() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE).as_posix()} imports {name}"
        for path in MODULES
        for name in imports(path)
        if name.partition(".")[0] in {"urllib", "http", "socket", "ssl", "requests", "ftplib", "pooch", "aiohttp"}
        and not name.startswith("urllib.parse")  # reads addresses, and asks nobody
        and path.relative_to(PACKAGE).as_posix() != "models/download.py"
    ]
    assert not wrong


def test_no_module_bears_the_name_of_a_front_door_function() -> None:
    """Lazy loading would hand out the module instead of the function."""
    names = {p.stem for p in PACKAGE.glob("*.py")} | {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    assert not names & set(mitonb.__all__)


@pytest.mark.parametrize("name", mitonb.__all__)
def test_the_front_door_leads_somewhere(name: str) -> None:
    path = PACKAGE / (mitonb._HOMES[name].replace(".", "/") + ".py")
    assert path.exists(), f"mn.{name} should be in {path.relative_to(ROOT)}"
    defined = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    assert name in defined


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="segment"):
        mitonb.segmnet  # noqa: B018


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after some code."""
    script = f"{code}\nimport sys, json; print(json.dumps([m.partition('.')[0] for m in sys.modules]))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_import_mitonb_loads_neither_torch_nor_ipython_nor_anything_slow() -> None:
    assert not loaded_after("import mitonb") & {"torch", "IPython", "ipywidgets", "numba", "scipy", "pandas", "numpy"}
    assert not loaded_after("import mitonb.cli") & {"torch", "IPython", "ipywidgets", "numba", "pandas"}


def test_looking_and_correcting_need_no_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None  # any import of torch fails from here on
import mitonb as mn
stack, truth = mn.phantom((4, 64, 64), 1)
session = mn.Session(stack, truth)
session.paint([(1, 5, 5), (1, 9, 9)], id=session.new_id(), radius=2)
session.undo()
mn.measure(session.labels, stack=stack)
mn.score(session.labels, truth)
mn.view(session.stack, session.labels)
"""
    assert "numpy" in loaded_after(code)


def tracked() -> list[Path]:
    """Return the files that git tracks."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_place_on_someones_machine() -> None:
    # In pieces, so that this line is not one of those that it looks for.
    places = re.compile(r"(?<![\w.])/(wor" + r"k|tm" + r"p|roo" + r"t|User" + r"s|hom" + r"e/\w+)/")
    wrong = []
    for path in tracked():
        if path.suffix in {".png", ".gif", ".safetensors", ".bin", ".npz", ".tif"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if places.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


def test_tracked_files_are_small() -> None:
    """8 MB for weights, 2.5 MB for the volume among the samples; nothing else comes near."""
    limits = {".safetensors": 8_000_000, ".bin": 8_000_000, ".tif": 2_500_000}
    large = [p.name for p in tracked() if p.stat().st_size > limits.get(p.suffix, 1_500_000)]
    assert not large


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np, mitonb as mn
stack = mn.Stack(np.zeros((4, 64, 64), np.uint8))
def pressed():
    app = mn.explore(stack)
    job = app.run_plane()
    job.wait(60)
    assert "pip install torch" in app.run_bar.message.value, app.run_bar.message.value
    raise job.error
tries = [
    lambda: mn.segment(stack, show=False), lambda: list(mn.segmenting(stack)), lambda: mn.predict(stack.plane(0)),
    lambda: list(mn.predicting(stack.plane(0))), lambda: mn.load_model("mito-mini"), lambda: mn.training([], out="x"),
    lambda: mn.Job(mn.segmenting(stack)).start().result(60), pressed,
]
for attempt in tries:
    try:
        attempt()
    except mn.MitonbError as error:
        assert "pip install torch --index-url" in str(error), error
        assert isinstance(error, ImportError)
    else:
        raise AssertionError("this ran without torch")
from mitonb.cli import main
for words in (["train", "x.tif", "x.safetensors"], ["models", "import", "x.pth"]):
    assert main(words) == 1
"""


def test_whatever_needs_torch_says_how_to_get_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install torch --index-url") == 2
