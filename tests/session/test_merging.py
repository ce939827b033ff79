"""Two annotators: what fits is done in both, what does not is listed."""

import tracemalloc

import numpy as np
import pytest

from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.session import Session, merging
from mitonb.session.merging import take_over
from tests.edit.drawing import work_at_random
from tests.post.drawing import same_partition


def first_labels():
    labels = np.zeros((3, 20, 40), np.uint32)
    for k in range(4):
        labels[:, 4:16, 10 * k + 1 : 10 * k + 9] = k + 1
    return labels


def test_edits_of_two_annotators_come_together_and_conflicts_are_listed():
    mine, other = Session(labels=first_labels()), Session(labels=first_labels())
    mine.delete(1)
    mine.paint([[0, 1, 1]], id=None, radius=1)  # object 5
    mine.erase([[1, 10, 25]], radius=2)
    other.delete(1)  # as the first did
    change = other.paint([[2, 18, 30]], id=None, radius=1)  # another object 5
    other.merge(change.id, 4)
    other.split(2, (1, 6, 14), (1, 14, 14))  # object 6
    other.delete(3)  # the first has erased in it
    other.mark_right(2)
    other.undo()
    other.mark_false(2)
    taken, conflicts = take_over(mine, other)
    assert (taken, [(one.seq, one.text, one.ids) for one in conflicts]) == (4, [(5, "deleted object 3", (0, 3))])
    assert mine.ids() == [2, 3, 5, 6, 7]
    expected = other.labels.data.copy()
    expected[other.labels.data == 5], expected[other.labels.data == 6] = 6, 7
    expected[:, :, 21:29] = mine.labels_before(4).data[:, :, 21:29]
    expected[0, :4, :4] = mine.labels.data[0, :4, :4]
    assert np.array_equal(mine.labels.data, expected)
    assert mine.marks == {2: False}
    assert mine.replay() == mine.version == 7


@pytest.mark.parametrize("seed", range(8))
def test_all_that_one_did_is_taken_over_where_the_other_did_nothing_or_the_same(seed):
    rng = np.random.default_rng(seed)
    mine, other, same = (Session(labels=first_labels()) for _ in range(3))
    mine.new_id()
    work_at_random(other, rng, 80)
    taken, conflicts = take_over(mine, other)
    assert taken
    assert {one.text.split()[0] for one in conflicts} <= {"took", "unmarked"}, "a model that was taught, no label"
    assert same_partition(mine.labels.data, other.labels.data)
    assert take_over(same, same) == (0, [])
    assert mine.replay() == mine.version


@pytest.mark.parametrize("seed", range(8))
def test_what_one_has_changed_stays_as_it_is(seed):
    rng = np.random.default_rng(seed)
    mine, other = (Session(labels=first_labels()) for _ in range(2))
    work_at_random(mine, rng, 12)
    work_at_random(other, rng, 12)
    before = mine.labels.data.copy()
    take_over(mine, other)
    changed = before != first_labels()
    for seq in range(2, other.version + 2):  # where both did the same, what the other did then is done, too
        changed &= before != other.labels_before(seq).data
    assert np.array_equal(mine.labels.data[changed], before[changed])


def test_an_edit_that_would_grow_a_locked_object_is_left_out_as_a_whole():
    mine, other = (Session(labels=first_labels()) for _ in range(2))
    found = first_labels()
    found[0, 0, 0], found[2, 3, 1:9] = 7, 1
    other.adopt(found)
    mine.lock(1)
    taken, conflicts = take_over(mine, other)
    assert (taken, [one.seq for one in conflicts]) == (0, [1])
    assert np.array_equal(mine.labels.data, first_labels())


def test_what_is_put_copies_the_planes_that_change_and_not_the_volume():
    session = Session(labels=np.zeros((40, 200, 250), np.uint32))
    session.paint([[9, 100, 100]], id=7, radius=5)
    where = np.array([20 * 50_000 + 5, 30 * 50_000, 30 * 50_000 + 9])
    tracemalloc.start()
    fits = merging._put(session, (where, np.zeros(3, np.int64), np.array([8, 7, 8])))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fits
    assert session.labels.data.reshape(-1)[where].tolist() == [8, 7, 8]
    assert session.voxels(8) == 2
    assert most < session.labels.data.nbytes / 2, f"{most} bytes"


def test_projects_of_other_labels_are_not_merged(tmp_path, capsys):
    a, b, out = (tmp_path / f"{name}.mitonb" for name in "abc")
    Session(labels=first_labels(), path=a).close()
    Session(labels=np.zeros((3, 20, 40), np.uint32), path=b).close()
    with Session.open(a) as one, Session.open(b) as two, pytest.raises(InputError, match="did not begin"):
        take_over(one, two)
    assert main(["merge", str(a), str(b), str(out)]) == 1
    assert "did not begin with the same labels" in capsys.readouterr().err
    assert not out.exists()


def test_merge_says_how_far_two_agree_and_what_does_not_fit(tmp_path, capsys):
    a, b, out = (tmp_path / f"{name}.mitonb" for name in "abc")
    for path, id in ((a, 3), (b, 4)):
        with Session(labels=first_labels(), path=path) as session:
            session.delete(id)
            session.merge(1, 2)
    with Session.open(b) as session:
        session.merge(1, 3)
    assert main(["merge", str(a), str(b), str(out)]) == 0
    said = capsys.readouterr().out
    assert "76.00% of the voxels have the same id; 0 objects of 2 and 1 match" in said
    assert "1 edits taken over, 1 left out" in said
    assert "edit 3: merged object 3 into 1; objects there 0 (z, y, x 0:3, 4:16, 21:29)" in said
    with Session.open(out) as merged:
        assert merged.ids() == [1]
        assert [e.text for e in merged.history()] == ["deleted object 3", "merged object 2 into 1", "deleted object 4"]
    assert main(["replay", str(out)]) == 0
