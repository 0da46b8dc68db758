"""Training patients' crops on the working grid, kept as memory-mapped arrays.

MONAI's PersistentDataset reads a whole volume for each patch, 20 times as long; its CacheDataset holds the whole cohort
in memory (`python -m benchmarks libraries`).
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from tqdm import tqdm

from cpmn.anatomy.artery_vein import VEIN
from cpmn.anatomy.blood import window_center
from cpmn.anatomy.vessels import lung_vessels, opacified_vessels
from cpmn.config.train import Phase, Spacing, TrainConfig
from cpmn.config.train.network import NetworkConfig
from cpmn.errors import PatientError
from cpmn.files import written_atomically
from cpmn.train.visibility import visibility_map
from cpmn.volume.grid import SAME_SPACING_MM, empty_working_grid, resample, working_image
from cpmn.volume.images import AIR_HU, describe_grid, read_image, same_grid
from cpmn.volume.voxels import within

logger = logging.getLogger(__name__)

LUNG_MARGIN_MM = 20.0  # our choice: patches are centred up to here from the lungs, so hilum and mediastinum take part
REACHED_VOXELS = 5  # our choice: wide enough to outvote noise, narrow beside a patch
CANDIDATES = 20_000  # our choice: at most so many voxels are kept as possible patch centres of a kind


@dataclass(frozen=True)
class Subject:
    """One patient on the working grid; arrays are (z, y, x), memory-mapped.

    nct, ctpa : int16 HU; None where the patient has none or it is not used, but never both.
    embolus : uint8, 1 = clot.
    clot_voxels, lung_voxels : (n, 3) int16 indices of possible patch centres.
    vessel_voxels : the same on clot-free vessel, where simulated emboli go; empty unless the settings use it. Without
        an NCT these are vessels that are filled with contrast.
    vein_voxels : the same on veins; empty unless the settings use it and the patient has a vessel mask.
    elsewhere_voxels : the same beyond `LUNG_MARGIN_MM` of the lungs; empty unless the settings use it.
    hard_voxels : the same where a network in training marks clots and there are none; found while it trains.
    visibility : uint8, 255 x how well the clot can be told from blood; None unless the settings use it.
    reached : uint8, 1 = the CTPA shows this place; None where it shows the whole volume.
    spacing : of the voxels, (x, y, z) in mm.
    window_center : of the NCT's window, in HU: the configured one, or the patient's own blood.
    clot_chance : that a patch holds clot, where no outline tells; nothing else uses it.
    outlined : whether `embolus` tells where clots are; else the label is all that is known.
    complete : whether it tells where none are, too: a network's outline passes over some.
    """

    patient: str
    label: int
    nct: np.ndarray | None
    ctpa: np.ndarray | None
    embolus: np.ndarray
    clot_voxels: np.ndarray
    lung_voxels: np.ndarray
    vessel_voxels: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int16))
    vein_voxels: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int16))
    elsewhere_voxels: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int16))
    hard_voxels: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int16))
    visibility: np.ndarray | None = None
    reached: np.ndarray | None = None
    spacing: Spacing = (1.0, 1.0, 1.0)
    window_center: float = NetworkConfig.model_fields["window_center"].default

    outlined: bool = True
    complete: bool = True
    clot_chance: float = 0.0

    def without_outline(self) -> "Subject":
        """The same patient, of whom only the label is known."""
        nowhere = np.zeros((0, 3), np.int16)
        empty = np.broadcast_to(np.uint8(0), self.embolus.shape)
        return replace(self, embolus=empty, clot_voxels=nowhere, visibility=None, outlined=False, complete=False)

    @property
    def shows_clot(self) -> bool:
        """Whether the patient has PE and a labelled clot lies in the crop: else nothing is asked of the mask."""
        return bool(self.label) and bool(self.embolus.any())


def crop_files(folder: Path, phases: Sequence[Phase], with_vessels: bool = False) -> dict[str, Path]:
    """Files of one patient's crop that training reads; the grid is the first phase's."""
    names = (*phases, "embolus", "lung", *(("vessels",) if with_vessels else ()))
    return {name: folder / f"{name}.nii.gz" for name in names}


def load_subjects(
    patients: Sequence[str],
    *,
    files: Mapping[str, Mapping[str, Path]],
    labels: Mapping[str, int],
    spacing: Spacing,
    cache: Path,
    config: TrainConfig | None = None,
) -> list[Subject]:
    """Subjects of `patients`, resampled once to `spacing` (x, y, z) in mm and then read from `cache`.

    Parameters
    ----------
    files : of each patient's crop, by what they show (`crop_files`).
    labels : 1 = PE, 0 = none, by patient.
    config : settings; what only some of them need (vessels, visibility) is computed if they ask for it.

    Raises PatientError if a crop's images lie on different grids.
    """
    subjects = []
    for patient in tqdm(patients, desc="volumes", unit="patient", disable=None):
        subject = _kept_subject(patient, labels[patient], cache / patient, spacing)
        if subject is None:
            _write_arrays(_working_arrays(patient, files[patient], spacing, config), cache / patient)
            subject = _read_subject(patient, labels[patient], cache / patient, spacing)
        subjects.append(subject)
    return subjects


def _kept_subject(patient: str, label: int, folder: Path, spacing: Spacing) -> Subject | None:
    """The subject that an earlier start wrote; None if it did not finish, or its files never reached the disk."""
    if not (folder / "complete").exists():
        return None
    try:
        return _read_subject(patient, label, folder, spacing)
    except (OSError, ValueError, EOFError) as error:
        logger.warning("volumes of %s cannot be read (%r): they are made again", patient, error)
        shutil.rmtree(folder)
        return None


def _working_arrays(
    patient: str, files: Mapping[str, Path], spacing: Spacing, config: TrainConfig | None
) -> dict[str, np.ndarray]:
    images = _read_images(patient, files)
    phases = [name for name in ("nct", "ctpa") if name in images]
    nct = "nct" in images
    arrays = {name: _hounsfield(working_image(images[name], spacing)) for name in phases}
    if nct and "ctpa" in arrays and not (reached := _reached(arrays["ctpa"])).all():
        arrays["reached"] = reached.astype(np.uint8)
    arrays["embolus"] = working_label(images["embolus"], spacing)
    if config and nct:
        arrays["window_center"] = _window_center(images["nct"], config.network)
    lung = working_label(images["lung"], spacing)
    near = _near_lung(lung, spacing)
    arrays["lung_voxels"] = candidates(near)
    if config and config.sampling.elsewhere_fraction:
        arrays["elsewhere_voxels"] = candidates(~near & (arrays["embolus"] == 0))
    if config and config.sampling.simulated_fraction:
        vessels = lung_vessels if nct else opacified_vessels
        arrays["vessel_voxels"] = candidates(vessels(arrays[phases[0]], lung, arrays["embolus"], spacing))
    if "vessels" in images:
        veins = working_label(images["vessels"] == VEIN, spacing) > 0
        arrays["vein_voxels"] = candidates(veins & (arrays["embolus"] == 0))
    if config and nct and config.loss.visibility_floor < 1:
        arrays["visibility"] = visibility_map(images["nct"], images["embolus"], arrays["embolus"], spacing, config.loss)
    arrays["clot_voxels"] = candidates(_sampled_clot(arrays, config))
    return arrays


def _window_center(nct: sitk.Image, config: NetworkConfig) -> np.ndarray:
    return np.array(window_center(nct, config.window_center, config.blood_window))


def _reached(ctpa: np.ndarray) -> np.ndarray:
    """Where a registered CTPA shows something (bool): `register` fills what it does not reach with AIR_HU.

    The majority within REACHED_VOXELS decides, because noise brings single voxels of air down to AIR_HU too.
    """
    return ndimage.uniform_filter((ctpa > AIR_HU).astype(np.float32), REACHED_VOXELS) > 0.5


def _sampled_clot(arrays: dict[str, np.ndarray], config: TrainConfig | None) -> np.ndarray:
    """Clot voxels (bool) that patches may be centred on: those that teach, if any do, else all.

    A clot that is invisible on the NCT teaches nothing where its label weighs 0.
    """
    clot = arrays["embolus"] > 0
    if config is None or "visibility" not in arrays or config.loss.visibility_floor > 0:
        return clot
    seen = clot & (arrays["visibility"] > 0)
    return seen if seen.any() else clot


def _read_images(patient: str, files: Mapping[str, Path]) -> dict[str, sitk.Image]:
    images = {name: read_image(path) for name, path in files.items()}
    first = next(iter(images))
    for name, image in images.items():
        if not same_grid(image, images[first]):
            problem = f"{name}.nii.gz ({describe_grid(image)}) is not on the grid of {first}.nii.gz"
            raise PatientError(patient, problem, "Run the crop stage again.", files[name].parent)
    return images


def _hounsfield(image: sitk.Image) -> np.ndarray:
    return np.rint(np.clip(sitk.GetArrayFromImage(image), AIR_HU, 3071)).astype(np.int16)


def working_label(label: sitk.Image, spacing: tuple[float, float, float]) -> np.ndarray:
    """0/1 mask (z, y, x) of a label image on the working grid: voxels filled to at least a half.

    A clot (by its id) that fills no voxel to a half would vanish: it keeps the voxel that holds its centre.
    """
    oriented = sitk.DICOMOrient(label, "LPS")
    ids = sitk.GetArrayFromImage(oriented)
    if np.allclose(oriented.GetSpacing(), spacing, rtol=0, atol=SAME_SPACING_MM):
        return (ids > 0).astype(np.uint8)
    mask = sitk.GetArrayFromImage(working_image(oriented > 0, spacing)) >= 0.5
    grid = empty_working_grid(oriented, np.array(spacing))
    nearest = sitk.GetArrayFromImage(resample(oriented, grid, sitk.sitkNearestNeighbor))
    for clot in np.setdiff1d(ids, np.append(nearest[mask], 0)):
        voxels = np.argwhere(ids == clot)
        centre = voxels[np.argmin(np.linalg.norm(voxels - voxels.mean(0), axis=1))]
        point = oriented.TransformIndexToPhysicalPoint([int(i) for i in centre[::-1]])
        index = np.clip(grid.TransformPhysicalPointToIndex(point), 0, np.array(grid.GetSize()) - 1)
        mask[tuple(index[::-1])] = True
    return mask.astype(np.uint8)


def _near_lung(lung: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    if not lung.any():
        return np.ones_like(lung, bool)
    return within(lung, LUNG_MARGIN_MM, spacing)


def candidates(mask: np.ndarray) -> np.ndarray:
    """Indices (n, 3) int16 of a mask's voxels (z, y, x), at most `CANDIDATES` of them, evenly taken."""
    voxels = np.argwhere(mask).astype(np.int16)
    if len(voxels) <= CANDIDATES:
        return voxels
    return voxels[np.linspace(0, len(voxels) - 1, CANDIDATES).astype(int)]


def _write_arrays(arrays: dict[str, np.ndarray], folder: Path) -> None:
    for name, array in arrays.items():
        with written_atomically(folder / f"{name}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, array)
    (folder / "complete").touch()


def _read_subject(patient: str, label: int, folder: Path, spacing: Spacing) -> Subject:
    names = ("nct", "ctpa", "embolus", "clot_voxels", "lung_voxels", "vessel_voxels", "vein_voxels")
    names += ("elsewhere_voxels", "visibility", "reached", "window_center")
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names if (folder / f"{name}.npy").exists()
    }
    center = arrays.pop("window_center", None)
    subject = Subject(patient, label, arrays.pop("nct", None), arrays.pop("ctpa", None), spacing=spacing, **arrays)
    return subject if center is None else replace(subject, window_center=float(center))
