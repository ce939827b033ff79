"""Beginning: projects that find their stack and labels again, or say why not."""

import shutil

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import AxesError, InputError, StoreError
from mitonb.labels import Labels
from mitonb.session import Session
from tests.edit.drawing import image, labels


@pytest.fixture
def stack_file(tmp_path):
    file = tmp_path / "image.npy"
    np.save(file, image().data)
    return file


def test_image_and_labels_must_lie_on_the_same_voxels():
    with pytest.raises(AxesError, match="same voxels"):
        Session(image(), labels()[:, :, 1:])


def test_labels_of_another_scale_take_that_of_their_image_and_it_is_said(tmp_path):
    micron = Labels(labels(), voxel_size=(1000, 1000, 1000))
    said = "labels say voxels of 1000 x 1000 x 1000 nm, the image 8 x 8 x 8 nm: those of the image are used"
    session = Session(image(voxel_size=(8, 8, 8)), micron, tmp_path / "cell.mitonb")
    assert session.voxel_size == session.labels.voxel_size == (8, 8, 8)
    assert said in " ".join(session.notes)
    assert said in repr(session)
    advised = Session(image(voxel_size=(1000, 1000, 1000)), micron)
    assert (advised.voxel_size, advised.notes) == ((1000, 1000, 1000), ())
    assert Session(image(), micron).voxel_size == (1000, 1000, 1000)
    for size in ((8, 8, 8), (8, 8, 8.001)):
        assert not Session(image(voxel_size=(8, 8, 8)), Labels(labels(), voxel_size=size)).notes
    adopting = Session(image(voxel_size=(8, 8, 8)))
    adopting.adopt(micron)
    assert adopting.voxel_size == (8, 8, 8)
    assert "those of the session are used" in " ".join(adopting.notes)
    assert "session.set_voxel_size(1000, 1000, 1000)" in " ".join(adopting.notes)


def test_labels_are_opened_with_the_scale_that_is_given(tmp_path):
    file = mn.save(Labels(labels(), voxel_size=(1000, 1000, 1000)), tmp_path / "labels.ome.tif")
    assert mn.open_labels(file).voxel_size == (1000, 1000, 1000)
    assert mn.open_labels(file, voxel_size=8).voxel_size == (8, 8, 8)
    assert mn.open_labels(labels(), voxel_size=(30, 8, 8)).voxel_size == (30, 8, 8)
    assert not Session(image(voxel_size=(8, 8, 8)), mn.open_labels(file, voxel_size=8)).notes
    with pytest.raises(InputError, match="positive nanometres"):
        mn.open_labels(file, voxel_size=(8, 8))


def test_running_the_cell_again_brings_the_corrections_back(path, stack_file):
    for _ in range(3):
        stack, found = mn.open(stack_file), Labels(labels())
        session = Session(stack, found, path)
        if session.version == 0:
            session.delete(1)
        assert session.ids() == [2]
        assert not session.read_only
    session.adopt(labels()[::-1])
    session.close()
    with Session(stack, labels()[::-1], path) as again:
        assert again.version == 2


def test_other_labels_for_an_existing_project_are_refused_with_the_choices(path):
    with Session(labels=labels(), path=path) as session:
        session.delete(1)
    other = labels() + 1
    with pytest.raises(InputError, match=r"Session\.open\(.*adopt\(labels, replace_corrected=True\)"):
        Session(labels=other, path=path)
    with Session.open(path) as again:
        assert again.version == 1


def test_a_wrong_stack_is_refused_and_the_open_session_stays_the_writer(path):
    session = Session(image(), labels(), path)
    with pytest.raises(InputError, match="made with another image"):
        Session(image(seed=1), path=path)
    session.delete(1)
    assert str(session.save_state) == "saved"
    session.close()


def test_a_stack_of_another_shape_is_refused_with_the_file_and_what_to_do(path):
    Session(image(), labels(), path).close()
    other = mn.Stack(np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(InputError, match=rf"{path.name} was made with another image .*choose another path"):
        Session(other, path=path)
    path.unlink()
    Session(labels=labels(), path=path).close()  # this project knows no image to compare with
    with pytest.raises(InputError, match=rf"{path.name} holds labels of .*\(2, 3, 5\).*choose another path"):
        Session(other, path=path)


def test_open_finds_the_stack_again_also_when_the_folder_has_moved(path, stack_file, tmp_path):
    Session(mn.open(stack_file), labels(), path).close()
    with Session.open(path) as session:
        assert np.array_equal(session.stack.read(), image().data)
        assert session.notes == ()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in (path, stack_file):
        shutil.move(file, moved)
    with Session.open(moved / path.name) as session:
        assert session.stack is not None


@pytest.mark.parametrize(
    ("prepare", "note"),
    [
        (lambda file: file.unlink(), "no longer exists"),
        (lambda file: np.save(file, image(seed=3).data), "made with another image"),
        (lambda file: file.write_bytes(b"x"), "cannot be used"),
    ],
)
def test_without_its_stack_a_project_opens_and_says_so(path, stack_file, prepare, note):
    Session(mn.open(stack_file), labels(), path).close()
    prepare(stack_file)
    with Session.open(path) as session:
        assert session.stack is None
        assert note in session.notes[0]
        session.delete(1)
    with Session.open(path, stack=image()) as session:
        assert session.stack is not None
        assert session.ids() == [2]


@pytest.mark.parametrize("depth", [18, 40])
def test_one_changed_voxel_makes_another_image(depth, path, tmp_path):
    data = np.random.default_rng(1).integers(0, 255, (depth, 8, 9)).astype(np.uint8)
    np.save(tmp_path / "image.npy", data)
    Session(mn.open(tmp_path / "image.npy"), path=path).close()
    for z in (1, 3, depth - 2):
        other = data.copy()
        other[z, 2, 2] ^= 1
        with pytest.raises(
            InputError, match=r"another image .* before it was changed.*take those of the project along"
        ):
            Session(mn.Stack(other), path=path)
    np.save(tmp_path / "image.npy", other)
    with Session.open(path) as session:
        assert session.stack is None
    with Session.open(path, stack=mn.Stack(data)) as session:
        assert session.stack is not None


def test_a_project_of_an_earlier_version_opens_with_its_image(path, monkeypatch):
    stack = mn.Stack(np.random.default_rng(1).integers(0, 255, (40, 8, 9)).astype(np.uint8))
    with monkeypatch.context() as before:
        before.setattr("mitonb.io.record.READ_ALL", 0)  # 16 planes stood for an image of any size
        Session(stack, path=path).close()
    with Session.open(path, stack=stack) as session:
        assert session.notes == ()
    with pytest.raises(InputError, match="another image"):
        Session(mn.Stack(255 - stack.read()), path=path)


def test_a_large_image_that_was_written_again_is_told(path, tmp_path, monkeypatch):
    monkeypatch.setattr("mitonb.io.record.READ_ALL", 0)
    data = np.zeros((40, 8, 9), np.uint8)
    np.save(tmp_path / "image.npy", data)
    Session(mn.open(tmp_path / "image.npy"), path=path).close()
    with Session.open(path) as session:
        assert session.notes == ()
    data[1] = 9  # none of the 16
    np.save(tmp_path / "image.npy", data)
    with Session.open(path) as session:
        assert session.stack is not None
        assert "was written after this project was made" in " ".join(session.notes)


def test_remote_addresses_and_arrays_are_not_opened_by_themselves(path):
    Session(image(source="https://example.org/image.zarr"), path=path).close()
    with Session.open(path) as session:
        assert "remote addresses are not opened" in session.notes[0]
    Session(image(), path=path.parent / "b.mitonb").close()
    with Session.open(path.parent / "b.mitonb") as session:
        assert "came from memory" in session.notes[0]


def test_a_voxel_size_that_was_corrected_stays_and_a_newer_word_counts(path):
    with Session(image(voxel_size=(8, 8, 8)), path=path) as session:
        session.set_voxel_size(30, 5, 5)
    with Session(image(voxel_size=(8.0, 8.0, 8.0)), path=path) as session:
        assert session.voxel_size == (30.0, 5.0, 5.0)
    with Session(image(voxel_size=(29.0, 5.0, 5.0)), path=path) as session:
        assert session.voxel_size == (29.0, 5.0, 5.0)
        assert session.history()[-1].text == "set the voxel size to 29 x 5 x 5 nm"


def test_names_with_spaces_umlauts_and_signs_of_addresses_work(tmp_path):
    for name in ("a b ü%20#?&.mitonb", "line\nbreak.mitonb", "\N{CAT FACE}.mitonb"):
        with Session(labels=labels(), path=tmp_path / name) as session:
            session.delete(1)
        with Session.open(tmp_path / name) as session:
            assert session.ids() == [2]


def test_a_folder_is_no_project(tmp_path):
    with pytest.raises(StoreError, match="no project file"):
        Session(labels=labels(), path=tmp_path)
