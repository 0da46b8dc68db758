"""Independent readings of the same files: GDCM for DICOM, nibabel for NIfTI, csv, yaml and json for text."""

import csv
import io
import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
import yaml

HU_TOLERANCE = 1.0  # rounding to whole HU, and slopes in single precision
MM_TOLERANCE = 0.05


def agree(one: sitk.Image, other: sitk.Image | None) -> bool:
    """Whether two volumes hold the same HU in the same places; -1024 HU and less are all air."""
    if other is None or one.GetSize() != other.GetSize():
        return False
    corners = [[0, 0, 0], [n - 1 for n in one.GetSize()], [one.GetSize()[0] - 1, 0, 0]]
    places = [np.subtract(*(i.TransformIndexToPhysicalPoint(c) for i in (one, other))) for c in corners]
    if not np.abs(places).max() <= MM_TOLERANCE:
        return False
    values = [np.clip(sitk.GetArrayFromImage(image).astype(np.float64), -1024, 32767) for image in (one, other)]
    return bool(np.abs(values[0] - values[1]).max() <= HU_TOLERANCE)


def gdcm(folder: Path) -> list[sitk.Image]:
    """Every series of a folder as GDCM reads it, ordered LPS; none that it cannot read."""
    reader, found = sitk.ImageSeriesReader(), []
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
        try:
            found.append(sitk.DICOMOrient(reader.Execute(), "LPS"))
        except RuntimeError:
            continue
    return found


def gdcm_in_zip(path: Path) -> list[sitk.Image]:
    """The same of an archive that Python's zipfile can unpack."""
    with tempfile.TemporaryDirectory() as name:
        try:
            with zipfile.ZipFile(path) as opened:
                for number, member in enumerate(opened.infolist()):
                    Path(name, f"{number}.dcm").write_bytes(opened.read(member))
        except Exception:  # whatever it raises
            return []
        return gdcm(Path(name))


def nifti(path: Path) -> sitk.Image | None:
    """A NIfTI file as nibabel reads it, ordered LPS; None if it cannot."""
    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, np.float64)  # pyright: ignore[reportAttributeAccessIssue]
        affine = np.diag([-1, -1, 1, 1]) @ image.affine  # pyright: ignore[reportAttributeAccessIssue]
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        found = sitk.GetImageFromArray(values.T)
        found.SetSpacing(spacing.tolist())
        found.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
        found.SetOrigin(affine[:3, 3].tolist())
        return sitk.DICOMOrient(found, "LPS")
    except Exception:  # whatever it raises
        return None


def leaves(values: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no mapping and no list, with its place."""
    if isinstance(values, Mapping):
        for key, item in values.items():
            yield from leaves(item, (*place, str(key)))
    elif isinstance(values, list | tuple):
        for index, item in enumerate(values):
            yield from leaves(item, (*place, str(index)))
    else:
        yield place, values


def takes_over(taken: Any, stated: Any) -> bool:
    """Whether each value of `stated` stands at the same place of `taken`, unchanged but for 1 and 1.0."""
    there = dict(leaves(taken))
    return all(_same(there.get(place), value) for place, value in leaves(stated))


def _same(taken: Any, stated: Any) -> bool:
    if isinstance(stated, bool) or isinstance(taken, bool):
        return taken is stated
    if isinstance(stated, int | float) and isinstance(taken, int | float):
        return math.isclose(taken, stated, rel_tol=1e-12)
    return taken == stated


def csv_rows(text: str) -> list[tuple[str, str]]:
    """Patient and label of each row that holds anything, by the csv module."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    rows.fieldnames = [name.strip() for name in rows.fieldnames or []]
    found = [((row.get("patient_id") or "").strip(), (row.get("label") or "").strip()) for row in rows]
    return [row for row in found if any(row)]


def yaml_values(path: Path) -> Any:
    """What PyYAML reads."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def json_values(path: Path) -> Any:
    """What the json module reads."""
    return json.loads(path.read_text(encoding="utf-8"))
