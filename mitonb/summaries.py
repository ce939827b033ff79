"""What the objects of a table say of the whole volume or section: fractions, densities, means; each with its method."""

import numpy as np
import pandas as pd

from mitonb.errors import InputError

Row = tuple[str, float, str, str]
_BY_ALL = "voxels of objects by all"
_SURE = 10  # weight of one object above which what is weighted is not to be relied on


def summarize(table: pd.DataFrame, *, region_voxels: int | None = None) -> pd.DataFrame:
    """Return what a table of objects says of the volume, or of the section, that they were seen in.

    Large objects are cut off by the border more often than small ones; means over whole objects alone are too small,
    and so are means over all. Numbers and means here weight each whole object by one over the chance that a box of its
    size lies wholly inside (Miles 1974; Lantuéjoul 1980), in the column ``edge_weight``.

    Parameters
    ----------
    table : DataFrame
        From `measure`, with a voxel size, or some rows of it, which then are all that is told of; with ``also="shape"``
        surfaces are summed up, with "skeleton" lengths.
    region_voxels : int, optional
        Voxels of the region that densities refer to, such as the cell; all of the volume by default.

    Returns
    -------
    pandas.DataFrame
        A row for each ``quantity``, with its ``value``, its ``unit`` and ``how`` it is estimated, with what that
        assumes.

    Raises
    ------
    InputError
        If the table does not say in which volume its objects are, or how large its voxels are, or a region
        has no voxels.

    Examples
    --------
    >>> from mitonb.measurements import measure
    >>> ids = np.zeros((10, 10, 10), np.uint8)
    >>> ids[4:6, 4:6, 4:6] = 1
    >>> found = summarize(measure(ids, voxel_size=100)).set_index("quantity")["value"]
    >>> round(float(found["volume fraction"]), 4), round(float(found["number"]), 2)
    (0.008, 2.92)
    """
    size, shape = table.attrs.get("voxel_size"), table.attrs.get("shape")
    if size is None or shape is None or "edge_weight" not in table:
        raise InputError(
            "A summary needs a table as mn.measure makes it, with a voxel size: a table that was read from a file, or "
            "put together from several, does not say in which volume its objects are. Measure the labels again."
        )
    if region_voxels is not None and not region_voxels >= 1:
        raise InputError(f"A region has 1 voxel or more, got region_voxels={region_voxels!r}.")
    flat = shape[0] == 1
    unit = np.array(size)[flat:] / 1e3
    voxels = int(np.prod(shape)) if region_voxels is None else int(region_voxels)
    whole = voxels * float(unit.prod())
    weight, part = table.edge_weight.to_numpy(float), float(table.voxels.sum()) / voxels
    number, most, cut = float(weight.sum()), float(weight.max(initial=0)), int(table.truncated.sum())
    counts = f"{len(table) - cut} whole, {cut} cut off"
    seen = f"weighted for the border (Miles-Lantuéjoul): {counts}"
    if most > _SURE or len(table) == cut > 0:
        # Right on average over many volumes, and far off in a single one.
        alone = f"one object counts {most:.0f} times, it hardly fits into the volume" if most else "none is whole"
        seen += f"; unsure: {alone}"

    def mean(name: str) -> float:
        return float((table[name] * weight).sum() / number) if number else np.nan

    rows: list[Row] = [("objects seen", len(table), "", f"all, also those at the border: {counts}")]
    if flat:
        rows += _of_section(table, part, number, whole, mean("area_um2"), seen)
    else:
        kept, small = table.volume_um3[~table.truncated].mean(), "too small: the border cuts large ones off more often"
        rows += [
            ("volume fraction", part, "", _BY_ALL), ("number", number, "", seen),
            ("number per volume", number / whole, "1/µm³", seen), ("mean volume", mean("volume_um3"), "µm³", seen),
            ("mean volume of whole objects", kept, "µm³", small),
        ]  # fmt: skip
        for name, quantity, unit_name, factor in (
            ("surface_um2", "surface per volume", "1/µm", 1.0), ("skeleton_nm", "length per volume", "1/µm²", 1e-3),
        ):  # fmt: skip
            if name in table:
                rows.append((quantity, table[name].sum() * factor / whole, unit_name, "sum over all by volume"))
    return pd.DataFrame(rows, columns=["quantity", "value", "unit", "how"])


def _of_section(
    table: pd.DataFrame, part: float, number: float, whole: float, mean_area: float, seen: str
) -> list[Row]:
    """Return what stereology makes of a section of `whole` µm², each with what it assumes."""
    delesse = "equals the area fraction (Delesse 1847); assumes a section placed at random"
    profiles = f"{seen}; profiles are no mitochondria: long ones are hit often"
    rows: list[Row] = [
        ("area fraction", part, "", _BY_ALL), ("volume fraction", part, "", delesse), ("profiles", number, "", seen),
        ("profiles per area", number / whole, "1/µm²", profiles),
        ("mean area", mean_area, "µm²", seen),
    ]  # fmt: skip
    if "perimeter_nm" in table:
        outline = table.perimeter_nm.sum() / 1e3 / whole
        told = "4/π of the outline per area; assumes directions at random (isotropic)"
        rows += [("outline per area", outline, "1/µm", "outlines by area"),
                 ("surface per volume", 4 / np.pi * outline, "1/µm", told)]  # fmt: skip
    wide = 2 * np.sqrt(table.area_um2 / np.pi)
    ball = np.pi / 2 * number / (table.edge_weight / wide).sum() if number else np.nan
    told = "assumes balls (Fullman 1953); of mitochondria, an order of magnitude at most"
    return [*rows, ("number per volume", number / whole / ball, "1/µm³", told)]
