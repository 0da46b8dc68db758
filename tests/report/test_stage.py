"""The whole page: what is on it, what is not, and that it needs nothing from outside."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy import ndimage

from cpmn.annotate.stage import summarise
from cpmn.config.root import load_config
from cpmn.dicom.scanners import CHEST_MODEL, MANUFACTURER, PHANTOM_MODEL
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json, write_text
from cpmn.report.collect import collect
from cpmn.report.stage import _annotation
from cpmn.volume.images import write_image

ATTACK = '<script>alert("x")</script>'
BANNER = "SYNTHETIC PHANTOM DATA"
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Reader(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_writes_three_files(finished):
    assert sorted(path.name for path in finished.output.iterdir()) == ["index.html", "model_card.md", "run.json"]


def test_page_loads_nothing_from_outside(finished):
    page = finished.page
    reader = Reader(page)
    addresses = [tag[key] for _, tag in reader.tags for key in ("src", "href", "xlink:href", "action") if key in tag]
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert reader.named("link", "iframe", "base", "object") == []
    assert all("src" not in script for script in reader.named("script"))
    (policy,) = [meta["content"] for meta in reader.named("meta") if "http-equiv" in meta]
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        *("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"),
        *(f"script-src 'sha256-{own}'", "base-uri 'none'", "form-action 'none'"),
    ]
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)|fetch\(|XMLHttpRequest|import\(", page)


def test_links_and_uses_point_at_what_is_there_once(finished):
    reader = Reader(finished.page)
    ids = [tag["id"] for _, tag in reader.tags if "id" in tag and not re.match(r"[mp][0-9a-f]{10}", tag["id"])]
    assert len(ids) == len(set(ids))
    targets = {tag["href"][1:] for tag in reader.named("a", "use") if tag.get("href", "").startswith("#")}
    assert targets <= set(ids) | {""}


def test_accessible_names(finished):
    reader = Reader(finished.page)
    assert all(tag.get("alt") for tag in reader.named("img"))
    assert all(tag.get("scope") in ("col", "row", "rowgroup") for tag in reader.named("th"))
    drawings = [tag for tag in reader.named("svg") if tag.get("aria-hidden") != "true"]
    assert drawings
    assert all(tag.get("role") == "img" and tag.get("aria-label") for tag in drawings)
    assert reader.named("html")[0]["lang"] == "en"


def test_same_results_same_bytes(run):
    assert run.write() == run.write()


@pytest.mark.parametrize("synthetic", [True, False])
def test_banner_if_and_only_if_synthetic(run, synthetic: bool):
    run.flags["synthetic"] = synthetic
    page = run.write()
    card = (run.output / "model_card.md").read_text(encoding="utf-8")
    assert (BANNER in page) is synthetic
    assert (BANNER in card) is synthetic
    assert ("4 test patients measure nothing" in page) is synthetic
    assert read_json(run.output / "run.json")["synthetic"] is synthetic


@pytest.mark.parametrize(
    ("model", "banner", "simulated"),
    [(CHEST_MODEL, "REAL ANATOMY, SIMULATED DISEASE", "disease"), (PHANTOM_MODEL, BANNER, "all")],
)
def test_computed_scans_are_flagged_whatever_the_cohort_is_called(run, model, banner, simulated):
    """One patient's header is enough, and no flag of the run is needed."""
    run.flags["synthetic"] = False
    path = run.results / "convert" / "p02" / "nct.json"
    write_json(path, read_json(path) | {"scanner": {"manufacturer": MANUFACTURER, "model": model}})
    page = run.write()
    assert banner in page
    assert banner in (run.output / "model_card.md").read_text(encoding="utf-8")
    record = read_json(run.output / "run.json")
    assert (record["synthetic"], record["simulated"]) == (True, simulated)
    assert (BANNER in page) is (simulated == "all")
    assert ("no clot changes the vessel" in page) is (simulated == "disease")


def test_of_image_files_it_is_not_known_whether_they_are_made_up(run):
    run.flags["synthetic"] = False
    path = run.results / "convert" / "p02" / "nct.json"
    write_json(path, read_json(path) | {"scanner": None})
    assert BANNER not in run.write()
    assert "Synthetic: not known" in (run.output / "model_card.md").read_text(encoding="utf-8")
    assert read_json(run.output / "run.json")["synthetic"] is None


@pytest.mark.parametrize("synthetic", [True, False])
def test_always_research_only(run, synthetic: bool):
    run.flags["synthetic"] = synthetic
    assert "Research use only, not a medical device" in run.write()
    assert "Research use only, not a medical device" in (run.output / "model_card.md").read_text(encoding="utf-8")


def test_foreign_text_is_escaped(run):
    quality = read_json(run.results / "register" / "p07" / "quality.json")
    write_json(run.results / "register" / "p07" / "quality.json", quality | {"reason": ATTACK})
    nct = read_json(run.results / "convert" / "p08" / "nct.json")
    scanner = {"manufacturer": ATTACK, "model": "\"onload='x'"}
    write_json(run.results / "convert" / "p08" / "nct.json", nct | {"scanner": scanner})
    run.config = load_config({"report": {"title": f"T {ATTACK}"}})
    run.variants = {**run.variants, ATTACK: {"base": "cpmn", "seed": 1}}
    run.flags["cohort"] = ATTACK
    page = run.write()
    assert ATTACK not in page
    assert page.count("&lt;script&gt;alert") >= 5
    assert ATTACK not in (run.output / "model_card.md").read_text(encoding="utf-8")
    Reader(page)


def test_paths_and_names_of_patients_do_not_reach_the_reader(finished):
    page = finished.page
    outputs = [
        page,
        *((finished.output / name).read_text(encoding="utf-8") for name in ("model_card.md", "run.json")),
    ]
    assert all(finished.secret_name not in text and str(finished.root) not in text for text in outputs)
    assert "the lungs were not found (&lt;nct&gt;)" in page  # the rest of the reason is there


def test_all_patients_are_in_the_table(finished):
    page = finished.page
    for patient in finished.patients:
        assert f'<th scope="row">{patient.patient_id}</th>' in page


def test_each_test_patient_has_pictures_for_each_variant(finished):
    page = finished.page
    reader = Reader(page)
    articles = [tag["aria-labelledby"] for tag in reader.named("article")]
    assert sorted(articles) == [f"patient-{name}" for name in finished.test]
    # reference and prediction outlines, whole and close-up, two variants, two PE patients
    assert sum(tag.get("class") == "reference" for tag in reader.named("path")) == 8
    assert sum(tag.get("class") == "prediction" for tag in reader.named("path")) == 8
    assert page.count("missed PE") == 2
    assert page.count("✗ wrong: false positive") == 2


def test_every_part_of_the_loss_has_a_curve(finished):
    for title in ("Segmentation", "Mutual learning", "Inter-Feature Alignment", "Intra-Feature Discrepancy"):
        assert f"<figcaption>{title}</figcaption><svg" in finished.page
    assert finished.page.count("one line per variant and fold") == 10


def test_a_term_of_one_s_own_loss_has_a_curve(run):
    for path in run.results.glob("train/*/fold-0/history.csv"):
        write_text(path, path.read_text(encoding="utf-8").replace("train_total", "train_my_term"))
    assert "<figcaption>My term</figcaption><svg" in run.write()


def test_what_trained_each_variant_is_said(finished):
    assert "cpmn: NVIDIA H100, nct_only: not recorded" in finished.page
    assert '<td class="number">777,524</td>' in finished.page
    card = (finished.output / "model_card.md").read_text(encoding="utf-8")
    assert "`cpmn` 777,524, `nct_only` not recorded" in card


def test_what_the_ctpa_pathway_reads_stands_beside_the_curves(run):
    assert "What the CTPA pathway reads" not in run.write()
    path = run.results / "evaluate/cpmn/metrics.json"
    write_json(path, read_json(path) | {"ctpa": {"split": "validation", "dice": 0.614, "auc": None, "found": 0.75}})
    cells = ['<th scope="row">cpmn</th>', *(f'<td class="number">{value}</td>' for value in ("0.61", "0.75", "–"))]
    assert "".join(cells) in run.write()


def test_undefined_figures_are_said(finished):
    page = finished.page
    assert '<td class="metric">not defined (n = 0)</td>' in page
    assert '<span class="value undefined">not defined</span>' in page
    assert not re.search(r">\s*(nan|None|null)\b", page, re.IGNORECASE)


def test_excluded_patient_is_in_the_flow_and_nowhere_else(finished):
    page = finished.page
    assert "<b>1 excluded</b>" in page
    assert "p05, at register" in page
    assert "<b>1 kept out of training</b>" in page
    assert "p07: registration failed: lung Dice 0.41 is below 0.8" in page
    assert 'alt="Registration of patient p05' not in page


def test_who_taught_nothing_is_counted_where_the_training_patients_are(finished):
    words = "1 of these kept out of training (1 with PE, 0 without)"
    assert f"2 with PE, 3 without<br>{words}" in finished.page
    card = (finished.output / "model_card.md").read_text(encoding="utf-8")
    assert f"- Train: 5 (2 with PE, 3 without); {words}." in card
    assert "- Validation: 2 (1 with PE, 1 without).\n" in card


def test_validation_patients_that_failed_quality_control_are_said_to_fit_the_threshold(run):
    path = run.results / "register" / "p11" / "quality.json"
    write_json(path, read_json(path) | {"passed": False, "reason": "folded"})
    read = "<b>1 of validation, not looked at while training</b>read afterwards"
    page = run.write()
    assert f"{read}, and the threshold is fitted on them too<ul>" in page
    assert "<li>p11: registration failed: folded</li>" in page
    splits = run.results / "train" / "splits.json"
    write_json(splits, read_json(splits) | {"calibration": ["p12"]})
    assert f"{read}<ul>" in run.write()


OPTIONAL = [
    "evaluate/comparison.csv",
    "evaluate/cpmn/roc.csv",
    "evaluate/cpmn/metrics.json",
    "evaluate/cpmn/patients.csv",
    "evaluate/nct_only",
    "evaluate/cpmn/predictions/p01.nii.gz",
    "evaluate/cpmn/cam",
    "evaluate",
    "register",
    "register/p01/quality.png",
    "propagate",
    "crop",
    "crop/p01/status.json",
    "convert",
    "convert/p01/nct.nii.gz",
    "convert/p01/ctpa.json",
    "train/splits.json",
    "train/cpmn/fold-0/history.csv",
    "train/cpmn/fold-0/plan.json",
    "train",
]


@pytest.mark.parametrize("absent", OPTIONAL)
def test_absent_results_are_tolerated(run, absent: str):
    path = run.results / absent
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    Reader(run.write())


def test_empty_files_of_an_excluded_patient_are_tolerated(run):
    for path in (*(run.results / "evaluate").rglob("p01.nii.gz"), run.results / "convert" / "p01" / "nct.nii.gz"):
        path.write_bytes(b"")
    assert "No pictures: the converted scan is absent." in run.write()


@pytest.mark.parametrize(
    ("row", "unannotated", "shown"),
    [
        ({"ctpa_mask": None}, "use", True),
        ({"ctpa_mask": None}, "refuse", False),
        ({}, "use", False),  # a person outlined everybody
        ({"ctpa_mask": None, "nct": None}, "use", False),  # nobody reads a CTPA alone
    ],
)
def test_what_an_earlier_run_outlined_is_shown_only_if_this_one_does_too(run, row, unannotated, shown):
    write_json(run.results / "annotate" / "metrics.json", {"found": 1})
    write_text(run.results / "annotate" / "worklist.csv", "patient_id,reason\np01,first\n")
    patients = [run.patients[0].model_copy(update=row), *run.patients[1:]]
    found = collect(run.results, patients, {})
    context = _annotation(found, load_config({"train": {"unannotated": unannotated}}))
    assert (bool(context["annotate"]), bool(context["worklist"])) == (shown, shown)


NOBODY = summarise([]) | {"networks": 1}


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (NOBODY, "No outlined CTPA was left to measure them on"),
        (NOBODY | {"n_pe": 3, "n_normal": 2}, "(3 with PE, 2 without)"),
        (
            NOBODY | {"n_pe": 3, "dice": {"value": 0.57, "low": 0.4, "high": 0.71, "n": 3}},
            "Dice on the CTPA, mean over patients with PE</th><td>0.57 (0.40 to 0.71, n = 3)</td>",
        ),
    ],
)
def test_the_report_says_how_good_annotate_is_if_that_was_measured(run, measured, says):
    run.patients[0] = run.patients[0].model_copy(update={"ctpa_mask": None})
    write_json(run.results / "annotate" / "metrics.json", measured)
    write_text(run.results / "annotate" / "worklist.csv", "patient_id,reason,outlined_ml\np01,first,1.5\n")
    page = " ".join(run.write().split())
    assert says in page
    assert ("No outlined CTPA was left" in page) is (measured["n_pe"] == 0)


def test_no_flags_and_no_variants(run):
    run.flags, run.variants = {}, {}
    page = run.write()
    assert BANNER not in page
    assert "No variant was evaluated." in page


def test_damaged_result_is_named(run):
    path = run.results / "evaluate" / "cpmn" / "metrics.json"
    write_text(path, "{")
    with pytest.raises(CpmnError, match=re.escape(f"{path} is not valid JSON")):
        run.write()


def test_damaged_picture_is_named(run):
    path = run.results / "register" / "p01" / "quality.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(CpmnError, match=re.escape(f"{path} is not a readable picture")):
        run.write()


def test_number_of_pictured_patients_is_limited_failures_first(run):
    run.config = load_config({"report": {"maximum_patients": 2}})
    page = run.write()
    reader = Reader(page)
    assert [tag["aria-labelledby"] for tag in reader.named("article")] == ["patient-p03", "patient-p02"]
    assert "2 of 4 test patients are shown" in page
    assert len([tag for tag in reader.named("img") if tag["alt"].startswith("Registration")]) == 2


def test_folds_are_counted_as_development(run):
    splits = read_json(run.results / "train" / "splits.json")
    fold = splits["folds"][0]
    splits["folds"] = [fold, {"train": fold["validation"], "validation": fold["train"]}]
    write_json(run.results / "train" / "splits.json", splits)
    page = run.write()
    assert "Development (2-fold cross-validation)" in page
    assert "<b>7 patients</b>" in page


def test_reference_as_scored_is_preferred(run):
    kept = run.results / "evaluate" / "cpmn" / "reference" / "p01.nii.gz"
    kept.parent.mkdir()
    shutil.copy(run.results / "propagate" / "p03" / "embolus.nii.gz", kept)
    page = run.write()
    assert page.count("Reference outlined: reference as scored.") == 1
    assert page.count("Reference outlined: propagated CTPA label.") == 1


@pytest.mark.slow
def test_pictures_of_twelve_large_scans_stay_small(run):
    rough = np.random.default_rng(0).normal(0, 1, (2, 512, 512))
    noise = (45 + 80 * ndimage.gaussian_filter(rough, (0, 1, 1))).astype(np.int16)  # SD 23 HU, correlated as in CT
    clot = np.zeros((2, 512, 512), dtype=np.uint8)
    clot[1, 200:220, 200:215] = 1
    glow = np.clip(2 * ndimage.gaussian_filter(rough, (0, 9, 9)), 0, 1).astype(np.float32) * 9
    patients = [run.patients[i % 2].model_copy(update={"patient_id": f"q{i:02d}"}) for i in range(12)]
    for patient in patients:
        name = f"{patient.patient_id}.nii.gz"
        write_image(run.image(noise), run.results / "convert" / patient.patient_id / "nct.nii.gz")
        write_image(run.image(clot * patient.label), run.results / "propagate" / patient.patient_id / "embolus.nii.gz")
        for variant in run.variants:
            write_image(run.image(clot), run.results / "evaluate" / variant / "predictions" / name)
            write_image(run.image(glow), run.results / "evaluate" / variant / "cam" / name)
    run.patients = patients
    splits = {"seed": 0, "method": "", "test": [p.patient_id for p in patients], "folds": []}
    write_json(run.results / "train" / "splits.json", splits)
    assert len(run.write()) < 2e6  # so that 60 patients stay under 10 MB
