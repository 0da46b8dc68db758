"""The page that shows a prediction: one file that loads nothing, and what a browser makes of it."""

import base64
import hashlib
import re
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.crop import CropConfig
from cpmn.predict.lesions import describe_lesions, ordered_lesions
from cpmn.predict.stage import crop_lungs
from cpmn.predict.viewer import write_viewer
from tests.predict.conftest import CLOT_INDEX, chest
from tests.predict.marks import made_record


def write(folder: Path, native: sitk.Image, *places: tuple[int, int, int], size: int = 2) -> Path:
    """The page of a scan with a mark at each place (z, y, x)."""
    labels = np.zeros(native.GetSize()[::-1], np.int32)
    for number, (z, y, x) in enumerate(places, start=1):
        labels[z - 1 : z + 2, y - size : y + size + 1, x - size - number : x + size + 1] = number
    labels = ordered_lesions(labels)
    probability = (labels != 0) * np.float32(0.9)
    crop, lungs = crop_lungs(native, CropConfig.model_validate({}))
    lesions = describe_lesions(labels, probability, native, lungs, None)
    record = made_record(0, True) | {"lesions": lesions, "warnings": ["</script><b>cut</b>"]}
    write_viewer(folder / "viewer.html", native, crop, labels, probability, probability, record)
    return folder / "viewer.html"


def test_the_page_loads_nothing_and_runs_its_own_scripts_alone(tmp_path):
    text = write(tmp_path, chest(), CLOT_INDEX).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", text)
    assert "<b>cut</b>" not in text


def test_the_page_holds_the_part_that_was_read(tmp_path):
    text = write(tmp_path, chest(), CLOT_INDEX).read_text(encoding="utf-8")
    packed = re.search(r'id="data-scan">([^<]+)<', text)
    assert packed is not None
    (tmp_path / "scan.nii.gz").write_bytes(base64.b64decode(packed[1]))
    shown, native = sitk.ReadImage(str(tmp_path / "scan.nii.gz")), chest()
    place = native.TransformIndexToPhysicalPoint(CLOT_INDEX[::-1])
    assert shown[shown.TransformPhysicalPointToIndex(place)] == 70
    assert np.prod(shown.GetSize()) < np.prod(native.GetSize())


def opened(browser, page: Path):
    browser.get(page.as_uri())
    until = time.monotonic() + 300
    while not (ready := browser.execute_script("return document.body.dataset.ready")) and time.monotonic() < until:
        time.sleep(0.5)
    assert ready == "yes", browser.find_element("id", "place").text
    return browser


CROSS = "const [x, y, z] = viewer.frac2mm(viewer.scene.crosshairPos); return [-x, -y, z]"  # LPS


@pytest.mark.slow
def test_a_browser_shows_layers_windows_and_jumps_to_marks(browser, tmp_path):
    native, places = chest(), (CLOT_INDEX, (20, 35, 65))
    page = opened(browser, write(tmp_path, native, *places))
    rows = page.find_elements("css selector", "#lesions tr")
    assert len(rows) == 2
    for button, (z, y, x) in zip(page.find_elements("css selector", "#lesions button"), places[::-1], strict=True):
        button.click()
        place = native.TransformIndexToPhysicalPoint((x, y, z))
        assert page.execute_script(CROSS) == pytest.approx(place, abs=10)
        assert re.search(r": -?\d+, 1, ", page.find_element("id", "place").text)  # it is marked there
    bounds = "const scan = viewer.volumes[0]; return [scan.cal_min, scan.cal_max]"
    assert page.execute_script(bounds) == [-35, 125]
    page.find_elements("css selector", "#windows button")[2].click()
    assert page.execute_script(bounds) == [-1350, 150]
    assert page.execute_script("return viewer.volumes.map((one) => one.opacity > 0)") == [True, True, False, False]
    page.find_element("id", "layer-activation").click()
    assert page.execute_script("return viewer.volumes[3].opacity") > 0


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_chest_of_usual_size_is_shown(browser, real_data, tmp_path):
    from cpmn.config.convert import ConvertConfig
    from cpmn.dicom.scan import read_scan

    folder = real_data / "lung_pet_ct_dx/A0001/5mm_B"
    config = ConvertConfig.model_validate({})
    native, _ = read_scan(folder, patient="p", phase="nct", series_uid="", config=config)
    page = opened(browser, write(tmp_path, native, (36, 240, 310), size=5))
    assert page.execute_script(CROSS) == pytest.approx(native.TransformIndexToPhysicalPoint((309, 240, 36)), abs=6)
    picture = tmp_path / "page.png"
    page.save_screenshot(str(picture))
    grey = sitk.GetArrayFromImage(sitk.ReadImage(str(picture)))[..., :3].astype(int)
    assert np.ptp(grey[300:, 500:]) > 150  # something is drawn, from black to white
