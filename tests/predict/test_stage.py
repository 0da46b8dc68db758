"""Prediction of a made-up chest with a small untrained network: every file, and agreement with the other stages."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import CpmnError, PatientError
from cpmn.files import read_json, write_json
from cpmn.model import ensemble
from cpmn.predict import stage
from cpmn.predict.overview import write_overview
from cpmn.predict.stage import crop_lungs, predict_series
from cpmn.volume.images import read_image, same_grid, write_image
from tests.predict.conftest import CLOT_INDEX, TRAINED_ON, chest, chest_series, decision, write_decision

FILES = {"prediction.nii.gz", "probability.nii.gz", "cam.nii.gz", "prediction.json", "overview.png", "viewer.html"}


def test_every_file_is_written_on_the_native_grid(series, results, tmp_path):
    record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    native = read_image(series)
    for name in ("prediction", "probability", "cam"):
        image = read_image(tmp_path / "out" / f"{name}.nii.gz")
        assert same_grid(image, native), name
        assert 0 <= sitk.GetArrayViewFromImage(image).min() <= sitk.GetArrayViewFromImage(image).max() <= 1
    assert read_image(tmp_path / "out/prediction.nii.gz").GetPixelID() == sitk.sitkUInt8
    assert record == read_json(tmp_path / "out/prediction.json")
    assert record["model"]["folds"] == 2
    assert len(record["model"]["sha256"]) == 64
    assert "Research use only" in record["statement"]


def test_same_scan_same_bytes(series, results, tmp_path):
    for name in ("one", "two"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / name)
    for file in FILES - {"prediction.json"}:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    one, two = (read_json(tmp_path / name / "prediction.json") for name in ("one", "two"))
    assert one | {"times": two["times"]} == two


def test_a_marked_spot_is_found_where_it_lies(series, results, tmp_path, bright_spot):
    record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    expected = chest().TransformIndexToPhysicalPoint(CLOT_INDEX[::-1])
    assert (record["decision"], record["positive"]) == ("PE", True)
    assert record["score"] >= record["threshold"]["value"]
    assert len(record["lesions"]) == 1
    assert record["lesions"][0]["centroid_mm"] == pytest.approx(expected, abs=1e-3)
    assert record["lesions"][0]["volume_ml"] == record["volume_ml"] == pytest.approx(27 * 80 / 1000)
    assert record["lesions"][0]["confidence"] == 1.0


def test_score_is_the_decision_rule_on_both_folds(series, results, tmp_path, bright_spot):
    """Both folds give logit(0.99) and log(2.16 mL + 0.01); normals lie at -2 and -4, standard deviation 1."""
    record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    expected = ((np.log(99) + 2) + (np.log(27 * 0.08 + 0.01) + 4)) / 2
    assert record["score"] == pytest.approx(expected, rel=1e-5)


def test_the_picture_shows_the_three_largest_marks_with_their_sides(tmp_path):
    native = chest()
    labels = np.zeros(native.GetSize()[::-1], np.int32)
    for number, x in enumerate((65, 25, 60, 30), start=1):
        labels[14, 34:36, x : x + 2] = number
    lesions = [
        {"number": number, "volume_ml": 1.0, "side": side, "region": "middle third"}
        for number, side in enumerate(("left", "right", "left", "right"), start=1)
    ]
    record = {"lesions": lesions, "warnings": [], "decision": "PE", "score": 1.0, "volume_ml": 4.0, "statement": "s"}
    record |= {"threshold": {"value": None}, "model": {"variant": "cpmn"}}
    widths = []
    for count in (0, 1, 4):
        shown = record | {"lesions": lesions[:count]}
        marked = labels * (labels <= count)
        write_overview(tmp_path / f"{count}.png", native, native, marked, np.zeros(labels.shape, np.float32), shown)
        widths.append(Image.open(tmp_path / f"{count}.png").width)
    assert widths[0] == widths[1] == widths[2] // 2  # a column for each of three marks, one for the activation
    captions = np.asarray(Image.open(tmp_path / "1.png").convert("RGB")).astype(int)
    assert (np.abs(captions - (0xFF, 0xD8, 0x4D)).max(axis=2) < 30).sum() > 100  # R and L


def test_overview_shows_the_outline_of_the_prediction(series, results, tmp_path, bright_spot):
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out/overview.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 120) & (pixels[..., 2] < 120)
    left = red[:, : red.shape[1] // 2]
    assert left.sum() > 20


def test_the_crop_is_that_of_the_stage(series, tmp_path):
    """Same voxels as the stage `crop` writes, for settings other than the default too."""
    from cpmn.crop.stage import crop_patient

    native = read_image(series)
    empty = sitk.Image(native.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(native)
    write_image(empty, tmp_path / "embolus.nii.gz")
    config = CropConfig.model_validate({"margin_mm": 17.0})
    crop_patient(
        "p", nct=series, ctpa_in_nct=None, embolus=tmp_path / "embolus.nii.gz", folder=tmp_path / "crop", config=config
    )
    expected, own = read_image(tmp_path / "crop/nct.nii.gz"), crop_lungs(native, config)[0]
    assert same_grid(expected, own)
    assert np.array_equal(sitk.GetArrayFromImage(expected), sitk.GetArrayFromImage(own))


def test_crop_settings_come_from_the_run(series, results, tmp_path, bright_spot, monkeypatch):
    from cpmn.predict import stage

    seen = []
    monkeypatch.setattr(
        stage, "crop_lungs", lambda nct, config: seen.append(config.margin_mm) or crop_lungs(nct, config)
    )
    write_decision(results, decision(margin_mm=23.0))
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert seen == [23.0]


def test_conversion_settings_come_from_the_run(series, results, tmp_path, bright_spot, monkeypatch):
    from cpmn.predict import stage

    seen = []

    def convert(source, *, config, **others):
        seen.append(config)
        return read_scan(source, config=config, **others)

    monkeypatch.setattr(stage, "read_scan", convert)
    settings = ConvertConfig.model_validate({"preferred_kernel": "B30f", "uneven_spacing": "resample"})
    write_decision(results, decision(convert=settings))
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    earlier = decision().model_dump(mode="json", exclude={"convert"})  # a run of before they were kept
    write_decision(results, earlier)
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert seen == [settings, ConvertConfig.model_validate({})]


@pytest.mark.parametrize(
    ("trained_on", "warnings"),
    [
        (TRAINED_ON, []),
        (TRAINED_ON.model_copy(update={"kind": "phantom"}), ["trained on phantoms"]),
        (TRAINED_ON.model_copy(update={"kind": "simulated"}), ["real chests with simulated emboli"]),
        (TRAINED_ON.model_copy(update={"kind": None}), ["UNKNOWN TRAINING DATA"]),
        (None, ["UNKNOWN TRAINING DATA"]),
    ],
)
def test_what_the_model_was_trained_on_stands_in_the_result(
    series, results, tmp_path, bright_spot, trained_on, warnings, capsys
):
    """In prediction.json, on the terminal, and in red over the picture; a report beside the model is not asked."""
    from cpmn.cli import main

    write_decision(results, decision().model_copy(update={"trained_on": trained_on}))
    write_json(results / "report/run.json", {"synthetic": False})
    out = tmp_path / "out"
    assert main(["predict", str(series), "-o", str(out), "--results", str(results)]) == 0
    record = read_json(out / "prediction.json")
    assert record["model"]["trained_on"] == (trained_on.model_dump() if trained_on else None)
    assert len(record["warnings"]) == len(warnings) + len(record["reasons"])
    assert bool(record["reasons"]) == (trained_on is not None and trained_on.kind == "phantom")  # the scan is none
    said = capsys.readouterr().out
    for one in warnings:
        assert one in record["warnings"][0]
        assert one in said
    assert ((0xB0, 0x00, 0x20) in title_of(out / "overview.png")) == bool(warnings)


def test_without_a_trained_model_the_message_says_what_to_run(series, tmp_path):
    with pytest.raises(CpmnError, match="snakemake --cores N"):
        predict_series(series, results=tmp_path / "none", variant="cpmn", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_variant_names_those_there(series, results, tmp_path):
    with pytest.raises(CpmnError, match="Variants there: cpmn"):
        predict_series(series, results=results, variant="other", output=tmp_path / "out")


def test_damaged_decision_is_a_clear_error(series, results, tmp_path):
    path = results / "evaluate/cpmn/decision.json"
    path.write_text(json.dumps({"variant": "cpmn"}))
    with pytest.raises(CpmnError, match="not a valid decision file"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")


def edit(path, **values):
    write_json(path, read_json(path) | values)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: edit(r / "train/cpmn/fold-1/plan.json", window_center=60), "fold-1/plan.json"),
        (lambda r: edit(r / "evaluate/cpmn/decision.json", segmentation_threshold=0.9), "decision.json"),
        (lambda r: edit(r / "evaluate/cpmn/decision.json", trained_on=None), "decision.json"),
        (lambda r: swap(r), "fold-0/model.safetensors, fold-1/model.safetensors"),
        (lambda r: edit(r / "evaluate/cpmn/decision.json", seal=seal_of(r) | {"sha256": "0" * 64}), "its seal"),
    ],
)
def test_a_model_that_was_edited_is_refused_until_it_is_sealed_with_a_reason(
    series, results, tmp_path, bright_spot, change, named, capsys
):
    from cpmn.cli import main

    before = seal_of(results)["sha256"]
    change(results)
    command = ["predict", str(series), "-o", str(tmp_path / "out"), "--results", str(results)]
    assert main(command) == 2
    message = capsys.readouterr().err
    assert f"changed since: {named}. " in message
    assert "cpmn seal MODEL --reason" in message
    assert not (tmp_path / "out").exists()
    assert main(["seal", str(results), "--reason", "a trial of ours"]) == 0
    assert main(command) == 0
    record = read_json(tmp_path / "out/prediction.json")
    assert record["model"]["sha256"] == seal_of(results)["sha256"] != before
    assert any("changed by hand on 20" in one and "a trial of ours" in one for one in record["warnings"])


def test_a_model_without_a_seal_is_refused(series, results, tmp_path):
    edit(results / "evaluate/cpmn/decision.json", seal=None)
    with pytest.raises(CpmnError, match="has no seal"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")


def test_files_laid_out_anew_are_the_same_model(series, results, tmp_path, bright_spot):
    """The hash is of what JSON says."""
    for path in (results / "train/cpmn/fold-0/plan.json", results / "evaluate/cpmn/decision.json"):
        path.write_text(json.dumps(dict(reversed(read_json(path).items()))))
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")


def seal_of(results):
    return read_json(results / "evaluate/cpmn/decision.json")["seal"]


def swap(results):
    first, second = (results / f"train/cpmn/fold-{fold}/model.safetensors" for fold in range(2))
    weights = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(weights)


@pytest.mark.parametrize("name", ["prediction.nii.gz", "probability.nii.gz", "cam.nii.gz", "."])
def test_a_scan_among_the_results_of_a_call_is_kept(results, tmp_path, name):
    """`_clear` removes those of an earlier call: here one of them is the scan, also by another name."""
    folder = tmp_path / "same"
    write_image(chest(), folder / "prediction.nii.gz")
    (folder / "prediction.nii.gz").rename(folder / ("scan.nii.gz" if name == "." else name))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(folder)
    for source in (folder / name, tmp_path / "link" / name):
        with pytest.raises(CpmnError, match="Give another folder with -o"):
            predict_series(source, results=results, variant="cpmn", output=folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_missing_scan_is_a_clear_error(results, tmp_path):
    with pytest.raises(CpmnError, match="does not exist"):
        predict_series(tmp_path / "nowhere", results=results, variant="cpmn", output=tmp_path / "out")


def test_scan_without_lungs_is_a_clear_error(results, tmp_path):
    write_image(chest(lung_hu=40), tmp_path / "blank.nii.gz")
    with pytest.raises(CpmnError, match="no lungs"):
        predict_series(tmp_path / "blank.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")


@pytest.mark.real_data
def test_a_real_chest_is_read_from_its_dicom_files(real_data, results, tmp_path):
    """Untrained network on a real chest: only the way through is tested, on the grid of the publisher's own volume."""
    folder = real_data / "cip"
    predict_series(folder / "ct-64Dicom", results=results, variant="cpmn", output=tmp_path / "out")
    published, own = read_image(folder / "ct-64.nrrd"), read_image(tmp_path / "out/prediction.nii.gz")
    assert own.GetSize() == published.GetSize()
    assert own.GetSpacing() == pytest.approx(published.GetSpacing(), abs=1e-3)
    assert "ct-64" not in (tmp_path / "out/prediction.json").read_text()


def test_nothing_is_marked_above_the_highest_hu_of_the_decision(series, results, tmp_path, bright_spot):
    """The spot is of 70 HU."""
    for limit, marked in ((75, True), (65, False)):
        changed = decision().model_copy(update={"highest_hu": limit})
        write_decision(results, changed)
        record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
        assert bool(record["lesions"]) is marked


def test_a_new_scan_is_read_as_the_decision_says(series, results, tmp_path, bright_spot, monkeypatch):
    changed = decision().model_copy(update={"overlap": 0.25, "mirror": True, "highest_hu": 90.0, "bfloat16": True})
    write_decision(results, changed)
    predict, seen = ensemble.predict_crop, []
    monkeypatch.setattr(ensemble, "predict_crop", lambda m, nct, **o: seen.append(o) or predict(m, nct, **o))
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert seen
    assert all(one.pop("allowed").any() for one in seen)
    assert all(options == {"overlap": 0.25, "mirror": True, "highest_hu": 90.0, "bfloat16": True} for options in seen)


@pytest.mark.parametrize("anatomy", [True, False])
def test_a_mark_in_the_chest_wall_never_reaches_a_result(results, tmp_path, bright_spot, anatomy):
    """Muscle in front of a lung as dense as an embolus; the one between the lungs stays."""
    scan = sitk.GetArrayFromImage(chest())
    scan[13:16, 17:19, 14:16] = 70
    image = sitk.GetImageFromArray(scan)
    image.CopyInformation(chest())
    write_image(image, tmp_path / "scan.nii.gz")
    write_decision(results, decision().model_copy(update={"anatomy": anatomy}))
    record = predict_series(tmp_path / "scan.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")
    assert len(record["lesions"]) == (1 if anatomy else 2)
    mask = sitk.GetArrayFromImage(read_image(tmp_path / "out/prediction.nii.gz"))
    assert mask[CLOT_INDEX] == 1
    assert mask[14, 18, 15] == (not anatomy)


def test_dicom_files_are_written_beside_the_others(write_series, results, tmp_path, bright_spot):
    from cpmn.cli import main

    folder, out = chest_series(write_series), tmp_path / "out"
    assert main(["predict", str(folder), "-o", str(out), "--results", str(results), "--dicom"]) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"prediction.dcm", "report.dcm", "overview.dcm"}
    segmentation = pydicom.dcmread(out / "prediction.dcm")
    assert (segmentation.PatientName, segmentation.PatientID) == ("", "")
    assert segmentation.NumberOfFrames == 3  # the spot's
    assert main(["predict", str(folder), "-o", str(out), "--results", str(results), "--dicom", "--identity"]) == 0
    assert pydicom.dcmread(out / "prediction.dcm").PatientName == "Doe^Jane"
    assert main(["predict", str(folder), "-o", str(out), "--results", str(results)]) == 0
    assert not list(out.glob("*.dcm"))  # they name the patient who was read before


def test_of_several_series_the_record_says_which_was_read(write_series, results, tmp_path, bright_spot, caplog):
    from cpmn.cli import main

    folder = chest_series(write_series, SeriesInstanceUID="1.1")
    chest_series(write_series, "scan/thicker", every=2, SeriesInstanceUID="1.2")
    assert main(["predict", str(folder), "-o", str(tmp_path / "out"), "--results", str(results)]) == 0
    scan = read_json(tmp_path / "out/prediction.json")["scan"]
    assert scan["chosen_because"] == "first by the rule 'thinnest slices'"
    assert len(scan["rejected"]) == 1
    assert f"2 series can be read; taken is series {scan['series']}" in caplog.text
    assert (
        main(["predict", str(folder), "-o", str(tmp_path / "out"), "--results", str(results), "--series-uid", "1.2"])
        == 0
    )
    assert read_json(tmp_path / "out/prediction.json")["scan"]["series"] != scan["series"]


def test_equal_series_are_refused_with_what_to_do(write_series, results, tmp_path):
    folder = chest_series(write_series, SeriesInstanceUID="1.1")
    chest_series(write_series, "scan/again", SeriesInstanceUID="1.2")
    with pytest.raises(
        PatientError, match=r"--series-uid.* convert\.preferred_kernel\. .* stand in .*cpmn/decision\.json"
    ):
        predict_series(folder, results=results, variant="cpmn", output=tmp_path / "out")


def test_two_patients_in_one_folder_are_refused_unless_a_series_is_named(write_series, results, tmp_path, bright_spot):
    folder, out = chest_series(write_series, SeriesInstanceUID="1.1", PatientID="A"), tmp_path / "out"
    chest_series(write_series, "scan/other", every=2, SeriesInstanceUID="1.2", PatientID="B")
    with pytest.raises(PatientError, match=r"CT series of 2 patients: .*one patient, or name the series") as caught:
        predict_series(folder, results=results, variant="cpmn", output=out)
    assert "1.1" not in str(caught.value)
    assert predict_series(folder, results=results, variant="cpmn", output=out, series_uid="1.2")["scan"]["rejected"]


def title_of(picture):
    """Colours that stand in the upper part of the picture, over the two views."""
    return set(map(tuple, np.asarray(Image.open(picture).convert("RGB"))[:60].reshape(-1, 3).tolist()))


@pytest.mark.parametrize(("lowest", "cut"), [(0, []), (8, ["inferior"])])
def test_a_scan_that_cuts_the_lungs_is_read_with_a_warning(results, tmp_path, bright_spot, lowest, cut):
    write_image(chest()[:, :, lowest:], tmp_path / "scan.nii.gz")
    record = predict_series(tmp_path / "scan.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")
    assert record["warnings"] == [f"the scan cuts the lungs ({side})" for side in cut]
    assert read_json(tmp_path / "out/prediction.json")["warnings"] == record["warnings"]
    assert ((0xB0, 0x00, 0x20) in title_of(tmp_path / "out/overview.png")) == bool(cut)


def test_a_scan_with_contrast_medium_is_read_with_a_warning(write_series, results, tmp_path, bright_spot):
    """All its tissue is bright here, which is no HU of a body: that is overruled too."""
    given = {"results": results, "variant": "cpmn", "output": tmp_path / "out", "overrule": ["hounsfield"]}
    record = predict_series(chest_series(write_series, blood=200), **given)
    (warning,) = [one for one in record["warnings"] if "contrast is present (from: image" in one]
    assert "which is not expected of a non-contrast CT" in warning
    assert [one["outcome"] for one in record["checks"] if one["check"] == "contrast"] == ["overruled"]


def test_tags_that_speak_against_the_image_are_a_warning(write_series, results, tmp_path, bright_spot):
    folder = chest_series(write_series, SeriesDescription="CTPA", ContrastBolusAgent="Iomeprol")
    record = predict_series(folder, results=results, variant="cpmn", output=tmp_path / "out")
    assert "contrast is absent (from: image, blood 40 HU), its tags say present" in record["warnings"]


def test_nothing_of_an_earlier_patient_outlives_a_scan_that_cannot_be_read(series, results, tmp_path, bright_spot):
    out = tmp_path / "out"
    predict_series(series, results=results, variant="cpmn", output=out)
    with pytest.raises(PatientError):
        predict_series(tmp_path / "lost.nii.gz", results=results, variant="cpmn", output=out)
    assert [path.name for path in out.iterdir()] == ["error.json"]


def test_an_output_that_is_a_file_is_refused_before_the_scan_is_read(results, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(CpmnError, match=r"out is a file\. Give a folder"):
        predict_series(tmp_path / "lost.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")


def test_an_image_file_holds_no_series_to_name(series, results, tmp_path):
    with pytest.raises(PatientError, match="an image file holds none"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out", series_uid="1.2")


def test_an_interrupted_reading_leaves_nothing_of_the_scan_before(series, results, tmp_path, bright_spot, monkeypatch):
    out = tmp_path / "out"
    predict_series(series, results=results, variant="cpmn", output=out)

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "write_overview", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_series(series, results=results, variant="cpmn", output=out)
    assert {path.name for path in out.iterdir()} == {name for name in FILES if name.endswith(".nii.gz")}


def test_an_image_file_has_no_series_to_refer_to(series, results, tmp_path):
    with pytest.raises(CpmnError, match="--dicom needs a DICOM series"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out", dicom=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["error.json"]
