"""Finishing: labels of a run whose planes are decoded, in memory or in a store, with what belongs to each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.io.saving import rescuing
from mitonb.io.zarr import LabelStore
from mitonb.labels import Labels, StoredLabels
from mitonb.stack import voxel_size_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from mitonb.infer.kept import KeptMaps
    from mitonb.infer.run import Run
    from mitonb.job import Progress

__all__ = ["finished", "stuff_notes", "stuff_of"]


def finished(
    run: Run, kept: KeptMaps, record: dict[str, Any], target: Path | None
) -> Generator[Progress, None, Labels | StoredLabels]:
    """Make labels of the planes that a run has decoded, in memory or in a store.

    Raises
    ------
    InputError
        If the store could not be written; the error says where the labels are kept instead.
    """
    given = kept.about.get("voxel_size")
    size, name = None if given is None else voxel_size_of(given), f"{kept.about.get('name', 'stack')} labels"
    classes = kept.about.get("classes", ())
    if target is None:
        ids = yield from run.objects()
        assert ids is not None
        return Labels(ids, size, name, _with_classes(record, classes, run.counts) or None)
    yield from run.assemble()
    record = _with_classes(record, classes, run.counts)

    def store_at(path: Path) -> Generator[Progress, None, None]:
        with LabelStore.at(path, run.shape, size, name) as store:
            yield from run.write(store)
            for _ in store.finish(record or None):
                yield run.progress("write")

    yield from rescuing(store_at, target)
    return StoredLabels(target, run.shape, sum(run.counts), size, name, record or None)


def stuff_of(spec: Any) -> tuple[int, ...]:
    """Return the numbers of the classes whose objects a model does not tell apart."""
    things = getattr(spec, "things", None)
    return () if things is None else tuple(k for k, name in enumerate(spec.classes) if name not in things)


def stuff_notes(spec: Any) -> tuple[str, ...]:
    """Say which classes of a model become one id each."""
    names = ", ".join(spec.classes[k] for k in stuff_of(spec))
    return (f"This model does not tell objects of {names} apart: they are one id.",) if names else ()


def _with_classes(record: dict[str, Any], classes: Sequence[str], counts: list[int]) -> dict[str, Any]:
    """Return the record with the ids of each class, where there are several."""
    if len(counts) < 2:
        return record
    names = [*classes, *(f"class {k + 1}" for k in range(len(classes), len(counts)))]
    ends = np.cumsum(counts).tolist()
    found = [
        {"name": name, "first": end - n + 1, "last": end}
        for name, n, end in zip(names[: len(counts)], counts, ends, strict=True)
    ]
    return {**record, "classes": found}
