"""A process that is killed while it edits has lost nothing that it acknowledged, and invented nothing.

`MITONB_KILLS=1000` kills more often, in each of the tests.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import mitonb as mn
from mitonb.edit.verbs import VERBS
from mitonb.session import Session

KILLS = int(os.environ.get("MITONB_KILLS", "12"))
SHAPE = (4, 40, 40)

# The child makes numbered edits for ever and says the number of each before it asks and after it is acknowledged.
CHILD = """
import sys
import numpy as np
from mitonb.edit import project
from mitonb.session import Session

project._EDITS = 7
session = Session.open(sys.argv[1])
seed = int(sys.argv[2])
rng = np.random.default_rng(seed)
for k in range(100_000):
    print(f"ask {k}", flush=True)
    client = (f"child {seed}", k)
    if k % 5 == 4 and session.can_undo:
        change = session.undo(client=client)
    elif k % 11 == 10:
        change = session.adopt(np.full(session.shape, k, np.uint32), client=client)
    else:
        z, y, x = (int(rng.integers(n)) for n in session.shape)
        change = session.paint([[z, y, x], [z, 20, 20]], id=k + 1, radius=3, client=client)
    print(f"ack {k} {change.seq}", flush=True)
"""


# The child does any verb of the table, and now and then writes the labels to a file; it says what is safe.
ANYTHING = """
import sys
import numpy as np
import mitonb as mn
from mitonb.edit import project
from mitonb.session import Session
from tests.edit.drawing import work_at_random

project._EDITS = 7
session = Session.open(sys.argv[1])
rng = np.random.default_rng(int(sys.argv[2]))
print("begun", flush=True)
while True:
    work_at_random(session, rng, 1)
    print("ack", session.version, flush=True)
    if rng.random() < 0.1:
        session.compact()
    if rng.random() < 0.1:
        mn.save(session.labels, sys.argv[3], overwrite=True)
        print("saved", session.version, flush=True)
"""


def killed(code, delay, *arguments):
    """Run code in a child and kill it some time after its first words; return the lines that it said."""
    said = Path(arguments[0]).with_suffix(".said")
    with said.open("w") as out:
        child = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=out)
        # However slow the machine is, something was acknowledged before the kill.
        while b"ack" not in said.read_bytes() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
    return said.read_text().splitlines()


def run_and_kill(path, seed, delay):
    """Let a child edit, kill it after some time; return the request numbers it made and those acknowledged."""
    lines = killed(CHILD, delay, path, seed)
    assert lines[:1] == ["ask 0"]
    asked = [int(line.split()[1]) for line in lines if line.startswith("ask ") and line.split()[1:]]
    acknowledged = {int(w[1]): int(w[2]) for w in map(str.split, lines) if w[0] == "ack" and len(w) == 3}
    return asked, acknowledged


def test_every_acknowledged_edit_survives_kills_and_no_other_appears(tmp_path):
    path = tmp_path / "killed.mitonb"
    Session(labels=np.zeros(SHAPE, np.uint32), path=path).close()
    random.seed(7)
    before = 0
    for seed in range(KILLS):
        asked, acknowledged = run_and_kill(path, seed, random.uniform(0, 0.25))
        session = Session.open(path)
        assert not session.read_only, session.save_state
        new = session._project.rows[before:]
        kept = {row.client_seq: row.seq for row in new if row.client == f"child {seed}"}
        assert acknowledged.items() <= kept.items(), "an acknowledged edit is gone"
        assert set(kept) <= set(asked), "an edit appeared that nobody asked for"
        assert len(kept) == len(new) <= len(acknowledged) + 1, "more than the one edit in flight appeared"
        assert np.array_equal(session.labels.data, replayed(session)), "labels are not what the journal says"
        before = session.version
        session.close()
    assert before >= KILLS


def test_whatever_verb_is_killed_leaves_a_project_that_replays_and_a_file_that_is_whole(tmp_path):
    path, out = tmp_path / "killed.mitonb", tmp_path / "labels.tif"
    labels = np.zeros((5, 14, 16), np.uint32)
    labels[:, 2:9, 3:10], labels[1:4, 9:13, 9:15] = 2, 5
    Session(labels=labels, path=path).close()
    random.seed(8)
    before, kinds, written = 0, set(), set()
    for seed in range(KILLS):
        lines = [line.split() for line in killed(ANYTHING, random.uniform(0, 0.4), path, seed, out)]
        assert lines[0] == ["begun"]
        safe = max([int(line[1]) for line in lines if line[0] == "ack" and len(line) == 2], default=before)
        with Session.open(path, read_only=bool(seed % 2)) as session:
            assert safe <= session.version <= safe + 1, "lost, or more than the one in flight"
            assert session.replay() == session.version
            kinds |= {row.kind for row in session._project.rows[before:]}
            before = session.version
        if out.exists():
            written.add(mn.open_labels(out).data.shape)
    assert written <= {labels.shape}
    assert before >= KILLS
    assert KILLS < 200 or (len({*VERBS} - kinds) < 3 and written)  # which rare verb is drawn is chance


def replayed(session):
    """Return the labels by going through the journal from its beginning, without snapshots."""
    from mitonb.edit.edits import apply, decode

    labels = np.zeros(SHAPE, np.uint32)
    for row in session._project.rows:
        if row.kind != "nothing":
            parts = decode(session._project.store.effect(row.undo_of or row.seq), SHAPE)
            apply(labels, parts, backwards=row.kind == "undo")
    return labels
