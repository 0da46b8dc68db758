"""Running picsl-greedy, the second engine: affine, then a stationary velocity field, in ANTs' file formats.

Greedy (Yushkevich et al., Alzheimer's & Dementia 2016;12:P126-127) optimises local correlation with one force per
iteration instead of SyN's two, on a fast box-filter implementation. Its transforms have the meaning of ANTs' ones, but
matrices are written in RAS coordinates.
"""

import importlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError, MachineError, blame_machine
from cpmn.files import written_atomically
from cpmn.register.prepare import Side
from cpmn.volume.images import write_image

RAS = np.diag([-1.0, -1.0, 1.0])  # to and from LPS
AFFINE = "-a -m NCC 2x2x2 -n 40x20x0"  # our choice: half the working resolution is enough before a deformable step
PADDING_MM = 30.0  # our choice: greedy does not hold the box's edge still, so the warp needs room to fade by smoothing
DEFORMABLE = "-m NCC 2x2x2 -sv"  # radius 2 and stationary velocity: what measured best (docs/reference/register.md)


def load_greedy() -> Any:
    """The class `Greedy3D` of picsl-greedy.

    Raises MachineError if the package is not installed: no patient is to be excluded for that.
    """
    try:
        return importlib.import_module("picsl_greedy").Greedy3D
    except ImportError as error:
        remedy = "install it (in the project's folder: pip install -e '.[greedy]'), or set register.engine to ants"
        raise MachineError(f"register.engine is greedy, but picsl-greedy is not installed: {remedy}") from error


def run_greedy(
    fixed: Side, moving: Side, start: sitk.AffineTransform, folder: Path, config: RegisterConfig, threads: int
) -> None:
    """Register the working images and write the same three files as `run_ants`, with the same meaning.

    Raises CpmnError if greedy gives no transform, MachineError if it is not installed.
    """
    greedy = load_greedy()()
    room = [round(PADDING_MM / step) for step in fixed.working.GetSpacing()]
    inputs = {
        "fixed": sitk.ConstantPad(fixed.working, room, room, config.window_hu[0]),
        "near": sitk.Cast(sitk.ConstantPad(fixed.near, room, room, 0), sitk.sitkFloat32),
        "moving": moving.working,
    }
    common = f"-V 0 -threads {threads} -i fixed moving -gm near"
    levels = "x".join(map(str, config.greedy_iterations))
    with TemporaryDirectory(prefix="register-") as name:
        first = Path(name) / "start.mat"
        np.savetxt(first, _ras_matrix(start))
        try:
            _execute(greedy, f"{common} {AFFINE} -ia {first} -o affine", affine=None, **inputs)
            steps = f"{common} {DEFORMABLE} -n {levels} -it affine -o warp -oinv inverse"
            _execute(greedy, steps, warp=None, inverse=None, **inputs)
        except RuntimeError as error:
            blame_machine(error)
            raise CpmnError(f"greedy found no transform ({error})") from error
    with written_atomically(folder / "affine.mat") as temporary:
        sitk.WriteTransform(_lps_affine(np.array(greedy["affine"])), str(temporary))
    for product, name in (("warp", "warp.nii.gz"), ("inverse", "inverse_warp.nii.gz")):
        write_image(sitk.Cast(greedy[product], sitk.sitkVectorFloat32), folder / name)


def _execute(greedy: Any, command: str, **objects: Any) -> None:
    silent = io.StringIO()
    greedy.execute(command, out=silent, err=silent, **objects)


def _ras_matrix(transform: sitk.AffineTransform) -> np.ndarray:
    """4x4 matrix, in RAS coordinates, of an affine transform in LPS coordinates."""
    matrix = np.eye(4)
    linear = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    matrix[:3, :3] = RAS @ linear @ RAS
    matrix[:3, 3] = RAS @ (np.array(transform.GetTranslation()) + centre - linear @ centre)
    return matrix


def _lps_affine(matrix: np.ndarray) -> sitk.AffineTransform:
    """Affine transform in LPS coordinates from a 4x4 matrix in RAS coordinates."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((RAS @ matrix[:3, :3] @ RAS).ravel().tolist())
    transform.SetTranslation((RAS @ matrix[:3, 3]).tolist())
    return transform
