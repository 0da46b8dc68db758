"""The phantom beside real scans: HU, noise power, vessel diameters and lung volumes, as a table and a figure.

Real scans: `../shared/data` (two non-contrast chests, one pulmonary artery angiography), see its README for sources.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.cases import REAL_DATA
from cpmn.anatomy.lungs import segment_lungs
from cpmn.cohort.phantom import patient_id
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import build_anatomy
from cpmn.phantom.materials import Tissue
from cpmn.phantom.noise import noise_power
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import draw_phase, grid_image, scan_phase
from cpmn.volume.images import read_image

ROOT = Path(__file__).parent.parent
FIGURE = ROOT / "docs" / "images" / "phantom-validation.png"
CHESTS = {"chest A0001": "lung_pet_ct_dx/A0001/5mm_B", "chest A0002": "lung_pet_ct_dx/A0002/B40f"}
SEED, PATIENTS = 101, 4
SPACING = (1.68, 1.68, 5.0)  # that of A0001 with every second pixel
ROI = 32  # pixels; regions that noise is measured in
ORGAN_HU = (25.0, 70.0)  # mean of such a region: liver, heart, muscle, spleen
VESSEL_HU = -500.0  # above in the lungs is vessel (or wall, or disease)


def measure() -> list[dict[str, Any]]:
    """One row per scan; draws the figure too."""
    if not REAL_DATA.is_dir():
        sys.exit(f"The real scans are not there: {REAL_DATA}")
    scans = {name: _series(REAL_DATA / path) for name, path in CHESTS.items()}
    config = PhantomConfig(seed=SEED, nct_spacing=SPACING, ctpa_spacing=(2.0, 2.0, 2.0))
    anatomies = [build_anatomy(config, patient_id(index)) for index in range(PATIENTS)]
    for anatomy in anatomies:
        scan = scan_phase(config, anatomy, "nct")
        scans[f"phantom {anatomy.patient_id[-3:]}"] = grid_image(scan.hu, scan.grid)
    chests = {name: _chest(image) for name, image in scans.items()}
    arteries = {"real angiography": _real_arteries()} | {
        f"phantom {anatomy.patient_id[-3:]}": _phantom_arteries(config, anatomy) for anatomy in anatomies
    }
    _draw(scans, chests, arteries)
    rows = [{"scan": name} | {key: _rounded(chest[key]) for key in NUMBERS} for name, chest in chests.items()]
    by_name = {row["scan"]: row for row in rows}
    for name, (hu, diameter) in arteries.items():
        row = by_name.get(name) or {"scan": name}
        row |= {"artery_hu": _rounded(np.mean(hu)), "artery_sd": _rounded(np.std(hu)), "trunk_mm": _rounded(diameter)}
        rows += [] if name in by_name else [row]
    return rows


NUMBERS = ("lung_l", "lung_hu_5", "lung_hu_50", "lung_hu_95", "organ_noise_hu", "vessel_mm_50", "vessel_mm_95")


def _series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _chest(image: sitk.Image) -> dict[str, Any]:
    """Figures of a non-contrast chest."""
    hu, lung = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(segment_lungs(image)) > 0
    inside = hu[lung]
    frequency, power, sd = _noise(hu, image.GetSpacing())
    diameters = _diameters(hu, lung, image.GetSpacing())
    return {
        "lung": inside,
        "body": hu[(hu > -200) & (hu < 300)],
        "frequency": frequency,
        "power": power,
        "diameters": diameters,
        "lung_l": lung.sum() * np.prod(image.GetSpacing()) / 1e6,
        **{f"lung_hu_{share}": np.percentile(inside, share) for share in (5, 50, 95)},
        "organ_noise_hu": sd,
        **{f"vessel_mm_{share}": np.percentile(diameters, share) for share in (50, 95)},
    }


def _noise(hu: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Radial noise power (HU^2 mm^2) in flat regions of organs, a quadratic surface removed, and its SD in HU."""
    y, x = np.mgrid[:ROI, :ROI] / ROI
    surface = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1).reshape(-1, 6)
    remove = np.eye(ROI * ROI) - surface @ np.linalg.pinv(surface)
    regions = []
    for slab in hu:
        for top in range(0, slab.shape[0] - ROI, ROI // 2):
            for left in range(0, slab.shape[1] - ROI, ROI // 2):
                region = slab[top : top + ROI, left : left + ROI]
                if ORGAN_HU[0] < region.mean() < ORGAN_HU[1] and region.min() > -60 and region.max() < 150:
                    regions.append((remove @ region.ravel()).reshape(ROI, ROI))
    regions = sorted(regions, key=np.std)[: max(5, len(regions) // 3)]  # the flattest third: the others hold edges
    pixel = spacing[0] * spacing[1]
    power = np.mean([np.abs(np.fft.fft2(region)) ** 2 for region in regions], axis=0) * pixel / ROI**2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(ROI, spacing[0]), np.fft.fftfreq(ROI, spacing[1])))
    edges = np.arange(0, 0.5 / spacing[0], 0.05)
    bins = [(radius >= low) & (radius < low + 0.05) for low in edges]
    return edges + 0.025, np.array([power[one].mean() for one in bins]), float(np.median([r.std() for r in regions]))


def _diameters(hu: np.ndarray, lung: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Diameters in mm at the middle of vessels: twice the in-plane distance to the edge where it is largest."""
    step = max(1, round(SPACING[0] / spacing[0]))
    hu, lung = hu[:, ::step, ::step], lung[:, ::step, ::step]
    found = []
    for slab, mask in zip(hu, lung, strict=True):
        vessel = (slab > VESSEL_HU) & ndimage.binary_erosion(mask, iterations=3)
        depth = np.asarray(ndimage.distance_transform_edt(vessel)) * spacing[0] * step
        middle = (depth == ndimage.maximum_filter(depth, 3)) & vessel
        found.append(2 * depth[middle])
    return np.concatenate(found)


def _real_arteries() -> tuple[np.ndarray, float]:
    """HU in the pulmonary artery, and the diameter of the largest ball in it in mm."""
    image = read_image(REAL_DATA / "pulmonary_artery_cta" / "ct_cropped.nii.gz")
    mask = sitk.GetArrayFromImage(read_image(REAL_DATA / "pulmonary_artery_cta" / "pulmonary_artery.nii.gz")) > 0
    inner = ndimage.binary_erosion(mask, iterations=2)
    return np.asarray(sitk.GetArrayFromImage(image))[np.asarray(inner, bool)], _widest(mask, image.GetSpacing())


def _phantom_arteries(config: PhantomConfig, anatomy: Any) -> tuple[np.ndarray, float]:
    canvas, scan = draw_phase(config, anatomy, "ctpa"), scan_phase(config, anatomy, "ctpa")
    mask = canvas.fraction(Tissue.ARTERY) > 0.5
    return scan.hu[canvas.fraction(Tissue.ARTERY) == 1], _widest(mask, scan.grid.spacing)


def _widest(mask: np.ndarray, spacing: tuple[float, ...]) -> float:
    return 2 * float(np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing[::-1])).max())


def _draw(scans: dict[str, sitk.Image], chests: dict[str, Any], arteries: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 5, figsize=(19, 7))
    shown = [name for name in scans if name in CHESTS or name.endswith(("001", "002"))]
    for axis, name in zip(axes[0], shown, strict=False):
        volume = sitk.GetArrayFromImage(scans[name])
        axis.imshow(volume[int(len(volume) * 0.55)], cmap="gray", vmin=-160, vmax=240)
        axis.set_title(name)
        axis.axis("off")
    for name, chest in chests.items():
        style = {"color": "tab:red" if name in CHESTS else "tab:blue", "lw": 1.2, "ls": "--" if "2" in name else "-"}
        axes[1, 0].hist(chest["lung"], np.arange(-1024, 0, 10), density=True, histtype="step", **style)
        axes[1, 1].hist(chest["body"], np.arange(-200, 300, 5), density=True, histtype="step", **style)
        axes[1, 2].plot(chest["frequency"], chest["power"] / chest["power"].mean(), **style, label=name)
        axes[1, 3].hist(chest["diameters"], np.arange(1, 20, 1.7), density=True, histtype="step", **style)
    for kernel, line in {"soft": "-", "sharp": ":"}.items():
        fine = noise_power(Grid((256, 256, 4), (0.7, 0.7, 5.0), (0, 0, 0)), kernel)[0, 0]
        at = np.arange(129) / (256 * 0.7)
        axes[1, 2].plot(at, fine / fine[:64].mean(), color="k", ls=line, label=f"{kernel} model")
    axes[1, 2].legend(fontsize=7)
    titles = ("HU in the lungs", "HU of soft tissue", "noise power / mean, 1/mm", "vessel diameters in the lungs, mm")
    for axis, title in zip(axes[1], titles, strict=False):
        axis.set_title(title)
    for name, (hu, _) in arteries.items():
        color = "tab:red" if "real" in name else "tab:blue"
        axes[0, 4].hist(hu, np.arange(0, 800, 15), density=True, histtype="step", color=color)
        axes[0, 4].set_title("HU in contrast-filled pulmonary arteries")
    places = [("tab:red" if name in CHESTS else "tab:blue", chest["lung_l"]) for name, chest in chests.items()]
    axes[1, 4].bar(range(len(places)), [litres for _, litres in places], color=[color for color, _ in places])
    axes[1, 4].set_title("lung volume, L")
    figure.suptitle("Real scans (red) and phantom patients (blue)")
    figure.tight_layout()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=70)
    plt.close(figure)


def _rounded(value: Any) -> float:
    return round(float(value), 2)
