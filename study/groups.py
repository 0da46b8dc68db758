"""Which patients and which clots are found, by what makes them easy or hard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.clotgroups import CONTRASTS_HU
from cpmn.phantom.difficulty import ISODENSE
from study.tables import CLOTS, RESULTS, read, where
from study.uncertainty import Readings, auc

PARTS = 3


def thirds(difficulty: str, readings: dict[str, Readings], folder: Path = RESULTS) -> pd.DataFrame:
    """AUC against all normals by thirds of the PE patients, by volume of visible clot (rows), and by variant (columns).

    A row's name is the range of the volume in mL. Each figure is the mean over the variant's seeds.
    """
    visible = visible_ml(difficulty, folder)
    parts = np.array_split(np.argsort(visible.to_numpy(), kind="stable"), PARTS)
    names = [f"{visible.iloc[part].min():.1f} to {visible.iloc[part].max():.1f}" for part in parts]
    figures = {name: [float(auc(_of_patients(one, part))) for part in parts] for name, one in readings.items()}
    return pd.DataFrame(figures, index=pd.Index(names))


def visible_ml(difficulty: str, folder: Path = RESULTS) -> pd.Series:
    """Volume in mL by PE patient, in their order, of the clots that differ from blood by more than an isodense one."""
    clots = _clots(difficulty, folder).drop_duplicates(["patient_id", "clot_id"])
    clots = clots.assign(visible=clots["ml"].where(clots["contrast_hu"].abs() > ISODENSE[1], 0.0))
    return clots.groupby("patient_id").agg({"visible": "sum"}).loc[:, "visible"]


def clots_found(difficulty: str, folder: Path = RESULTS) -> pd.DataFrame:
    """Share of the clots found at one false mark per normal, by contrast to blood (rows) and variant (columns).

    A further column `clots` counts them. Shares are over all seeds of a variant.
    """
    clots = _clots(difficulty, folder)
    clots = clots.assign(variant=clots["run"].str.replace(r"-s\d+$", "", regex=True), group=_groups(clots))
    shares = clots.pivot_table(index="group", columns="variant", values="found", observed=True)
    number = clots.drop_duplicates(["patient_id", "clot_id"]).groupby("group", observed=True).size()
    return shares.assign(clots=number)


def _clots(difficulty: str, folder: Path) -> pd.DataFrame:
    return where(read(CLOTS, folder), difficulty=difficulty)


def _groups(clots: pd.DataFrame) -> pd.Series:
    """The group of each clot by contrast, brightest first."""
    names = list(reversed(CONTRASTS_HU))
    limits = [CONTRASTS_HU[name][0] for name in names] + [np.inf]
    groups = pd.cut(clots["contrast_hu"], limits, right=False, labels=names)
    return groups.cat.reorder_categories(list(CONTRASTS_HU))


def _of_patients(readings: Readings, chosen: np.ndarray) -> Readings:
    """The same normals with some of the PE patients."""
    pe, normals = readings.patients
    names = tuple(pe[i] for i in chosen), normals
    return replace(readings, pe=readings.pe[:, chosen], dice=readings.dice[:, chosen], patients=names)
