"""A made-up chest, as an image and as DICOM, and a small untrained network that reads it."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.crop import CropConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.files import write_json
from cpmn.scoring.decision import Decision, TrainedOn, Unseen, fit_decision
from cpmn.volume.images import write_image
from tests.dicom.conftest import write_series as write_series  # a fixture

CLOT_INDEX = (14, 35, 45)  # z, y, x: between the lungs
TRAINED_ON = TrainedOn(
    kind="patients", cohort="made-up", cohort_sha256="0" * 64, n_pe=5, n_normal=6, date="2026-11-28", version="0.1.0"
)


def chest(lung_hu: int = -850) -> sitk.Image:
    """Elliptic body of 40 HU with spine, two lungs of 1 L, and a spot of 70 HU between them; 4 mm voxels."""
    z, y, x = np.indices((30, 70, 90))
    hu = np.full(z.shape, -1000, np.int16)
    hu[((x - 45) / 40) ** 2 + ((y - 35) / 30) ** 2 < 1] = 40
    hu[:, 52:58, 41:49] = 500
    for centre in (25, 65):
        hu[((x - centre) / 13) ** 2 + ((y - 35) / 19) ** 2 + ((z - 15) / 12) ** 2 < 1] = lung_hu
    spot = tuple(slice(i - 1, i + 2) for i in CLOT_INDEX)
    hu[spot] = 70
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((4.0, 4.0, 5.0))
    image.SetOrigin((-180.0, -140.0, -400.0))
    return image


@pytest.fixture
def series(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_image(chest(), path)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two folds of an untrained network, and a decision with threshold."""
    from safetensors.torch import save_file  # loads torch, which tests of other files do without

    from cpmn.model.network import build_pathway
    from cpmn.model.plan import Plan, write_plan

    folder = tmp_path / "results"
    for fold in range(2):
        where = folder / "train/cpmn" / f"fold-{fold}"
        where.mkdir(parents=True)
        plan = Plan.model_validate(
            {
                "variant": "cpmn",
                "fold": fold,
                "seed": fold,
                "spacing": (8, 8, 8),
                "patch_size": (64, 48, 32),
                "channels": (8, 16),
                "strides": [(2, 2, 2)],
                "window_center": 45,
                "window_scale": 20,
                "clip": 4,
                "fingerprint": {},
                "config": {},
                "versions": {"cpmn": "0.1.0"},
            }
        )
        write_plan(plan, where)
        save_file(build_pathway(plan.channels, plan.strides, plan.seed).state_dict(), where / "model.safetensors")
    write_decision(folder, decision())
    return folder


def write_decision(results: Path, changed: Decision | dict) -> None:
    """Write a decision, sealed with the models that lie beside it."""
    from cpmn.model.modelfiles import RunFiles
    from cpmn.model.seal import sealed

    values = changed if isinstance(changed, dict) else changed.model_dump(mode="json")
    write_json(results / "evaluate/cpmn/decision.json", sealed(values, RunFiles(results, "cpmn")))


def decision(convert=None, **crop):
    patients = [
        Unseen(f"{fold}{label}", label, {fold: {"classification": 4.0 * label - 2, "lesion": 3.0 * label - 4}})
        for fold in range(2)
        for label in (0, 1)
    ]
    settings = EvaluateConfig.model_validate({})
    fitted = fit_decision(patients, "cpmn", 2, settings, crop=CropConfig.model_validate(crop), convert=convert)
    return fitted.model_copy(update={"trained_on": TRAINED_ON})


@pytest.fixture
def bright_spot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that calls tissue of 60-100 HU an embolus, surely."""
    from cpmn.model import ensemble
    from cpmn.model.inference import Prediction

    def predict(
        _model, nct: sitk.Image, allowed: np.ndarray | None = None, highest_hu: float | None = None, **_options: object
    ):
        hu = sitk.GetArrayFromImage(nct)
        seen = (hu > 60) & (hu < min(100, highest_hu or 100))
        spot = (seen if allowed is None else seen & allowed).astype(np.float32)
        return Prediction(spot, spot / 2, 0.99)

    monkeypatch.setattr(ensemble, "predict_crop", predict)


def chest_series(write_series, folder="scan", every=1, blood=0, study="1.2", **tags):
    """A chest as DICOM; soft tissue is `blood` HU brighter."""
    stored = sitk.GetArrayFromImage(chest())[::every] + 1024
    stored = np.where((stored > 1024) & (stored < 1124), stored + blood, stored).astype(stored.dtype)
    slices, rows, columns = stored.shape
    tags |= {"Rows": rows, "Columns": columns, "PixelSpacing": [4, 4], "StudyInstanceUID": study}
    tags |= {"FrameOfReferenceUID": "1.3", "each": lambda index: {"PixelData": stored[index].tobytes()}}
    return write_series(folder, z=5.0 * every * np.arange(slices), **tags)
