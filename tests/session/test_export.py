"""What goes out of a session takes along what made it."""

import json

import numpy as np
import pytest

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.io.opening import open_labels
from mitonb.session import Session
from tests.edit.drawing import labels

ENDINGS = [".tif", ".ome.zarr", ".npz", ".nii.gz", ".h5", ".planes", ".precomputed"]


def record_of(path):
    """Return the run record in a saved file or beside it, as it is."""
    if path.name.endswith(".zarr"):
        return json.loads((path / ".zattrs").read_text())["mitonb"]["record"]
    if path.suffix == ".npz":
        return json.loads(np.load(path)["record"].tobytes())
    return json.loads(path.with_name(f"{path.name}.record.json").read_text())


@pytest.mark.parametrize("ending", ENDINGS)
def test_record_and_history_go_out_with_the_labels(tmp_path, ending):
    recorded = mn.Labels(labels(), (40.0, 8.0, 8.0), record={"recipe": {}, "format": "mitonb-run-record"})
    session = Session(labels=recorded, path=tmp_path / "cell.mitonb")
    session.merge(1, 2)
    session.paint([[0, 1, 1]], id=9, radius=1)
    session.undo()
    path = session.export(tmp_path / f"mito{ending}")
    record = record_of(path)
    assert record["format"] == "mitonb-run-record"
    told = [(one["edit"], one["code"], one["stands"]) for one in record["history"]]
    assert told[0] == (1, "session.merge(1, 2)", True)
    assert [stands for *_, stands in told] == [True, False, False]
    assert "paint" in told[1][1]
    if ending != ".precomputed":  # which mitonb does not open
        found = open_labels(path)
        np.testing.assert_array_equal(found.data, session.labels.data)
        assert found.voxel_size == (40.0, 8.0, 8.0)
        again = Session(labels=found)
        again.delete(1)
        more = record_of(again.export(tmp_path / f"more{ending}"))["history"]
        assert [one["code"] for one in more[-2:]] == [told[2][1], "session.delete(1)"]
    session.close()


def test_the_command_line_exports_a_project_that_stays_as_it_was(tmp_path, capsys):
    with Session(labels=labels(), path=tmp_path / "cell.mitonb") as session:
        session.merge(1, 2)
        want = session.labels.data.copy()
    before = (tmp_path / "cell.mitonb").read_bytes()
    assert main(["export", str(tmp_path / "cell.mitonb"), str(tmp_path / "mito.h5")]) == 0
    assert "and 1 edits in" in capsys.readouterr().out
    np.testing.assert_array_equal(open_labels(tmp_path / "mito.h5").data, want)
    assert main(["export", str(tmp_path / "cell.mitonb"), str(tmp_path / "mito.h5")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "cell.mitonb"), str(tmp_path / "mito.xyz")]) == 1
    assert (tmp_path / "cell.mitonb").read_bytes() == before


def test_only_the_last_lines_of_a_long_history_go_out(tmp_path, monkeypatch):
    monkeypatch.setattr("mitonb.session.session._MOST_LINES", 3)
    session = Session(labels=labels())
    for z in range(3):
        session.paint([[z, 0, k % 9] for k in range(400)], id=50 + z, radius=0)
    session.delete(1)
    told = record_of(session.export(tmp_path / "mito.tif"))["history"]
    assert [one["edit"] for one in told] == [2, 3, 4]
    assert [bool(one["code"]) for one in told] == [False, False, True]
    with pytest.raises(InputError, match="already exists"):
        session.export(tmp_path / "mito.tif")
