"""A page that shows a prediction in any browser: the scan with what was marked, from one file and without a network.

NiiVue draws it: one third-party script, bundled once (`README.md` beside it says how) and kept here.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from markupsafe import Markup

from cpmn.files import write_text
from cpmn.pages import templates
from cpmn.volume.box import box_of, crop_image
from cpmn.volume.images import image_like, write_image

FOLDER = Path(__file__).parent
STEPS = 255  # of a map from 0 to 1: all that an eye can tell
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; connect-src data:; img-src data: blob:; style-src {}"
POLICY += "; script-src {}"
"""Nothing is loaded from anywhere: only the page's own scripts and style run, known by their hashes."""


def write_viewer(
    path: Path,
    native: sitk.Image,
    crop: sitk.Image,
    labels: np.ndarray,
    probability: np.ndarray,
    cam: np.ndarray,
    record: Mapping[str, Any],
) -> None:
    """Write one page with the part of the scan that was read, marks, probability, activation, and a list of the marks.

    Parameters
    ----------
    native, crop : HU (LPS); `crop` tells which part is shown, the box of the lungs, beyond which nothing is marked.
    labels, probability, cam : (z, y, x) on the grid of `native`; labels are numbers of the lesions in `record`.
    record : contents of `prediction.json`.
    """
    box = box_of(crop, native)
    layers = {
        "scan": crop_image(native, box),
        "marks": crop_image(image_like((labels != 0).astype(np.uint8), native), box),
        "probability": crop_image(image_like(np.round(probability * STEPS).astype(np.uint8), native), box),
        "activation": crop_image(image_like(np.round(np.nan_to_num(cam) * STEPS).astype(np.uint8), native), box),
    }
    lesions = [
        lesion | {"ras_mm": [-lesion["centroid_mm"][0], -lesion["centroid_mm"][1], lesion["centroid_mm"][2]]}
        for lesion in record["lesions"]
    ]
    scripts = [_text("niivue.min.js"), _text("viewer.js")]
    style = _text("viewer.css")
    template = templates(FOLDER, escape=True).get_template("viewer.html.j2")
    page = template.render(
        policy=Markup(POLICY.format(_hashed(style), " ".join(map(_hashed, scripts)))),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        layers={name: _encoded(image) for name, image in layers.items()},
        lesions=Markup(json.dumps(lesions).replace("<", "\\u003c")),
        record=record,
    )
    write_text(path, page)


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    """How a content security policy names a script or style in the page itself."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _encoded(image: sitk.Image) -> str:
    """Bytes of a .nii.gz as base64."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.nii.gz"
        write_image(image, file)
        return base64.b64encode(file.read_bytes()).decode()
