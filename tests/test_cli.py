"""The `cpmn` command: exit codes and messages."""

import json
import subprocess
import sys

import pytest

from cpmn.cli import main


def test_check_says_what_is_missing_and_ends_with_2(tmp_path, capsys):
    sheet = tmp_path / "cohort.csv"
    sheet.write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,gone,gone,,1\n")
    assert main(["check", str(sheet)]) == 2
    printed = capsys.readouterr()
    assert "patient p1: nct: " in printed.err
    assert "1 patients, 1 with PE, 2 problems" in printed.out
    assert "pair with a report: 1, teaching" in printed.out
    assert "no patient with PE who trains has an outline (p1)" in printed.out


def test_check_of_a_sound_cohort(tmp_path, capsys):
    sheet = tmp_path / "cohort.csv"
    rows = ["patient_id,ctpa,nct,ctpa_mask,label,nct_mask"]
    for i in range(4):
        rows += [f"p{i},,p{i}.nii.gz,,1,mask.nii.gz", f"n{i},,n{i}.nii.gz,,0,"]
    for name in ("mask", *(f"{kind}{i}" for kind in "pn" for i in range(4))):
        (tmp_path / f"{name}.nii.gz").write_text("an image")
    sheet.write_text("\n".join(rows))
    assert main(["check", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "8 patients, 4 with PE, 0 problems" in printed
    assert "cannot be trained on" not in printed


def test_sheets_are_joined_and_kinds_counted(tmp_path, capsys):
    header = "patient_id,ctpa,nct,ctpa_mask,label"
    (tmp_path / "a.csv").write_text(f"{header}\np1,c,n,,1\n")
    (tmp_path / "b.csv").write_text(f"{header}\nf1,c,,m,1\n")
    assert main(["join", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "-o", str(tmp_path / "c.csv")]) == 0
    printed = capsys.readouterr().out
    assert "2 patients" in printed
    assert "CTPA alone, outlined or without PE: 1, teaching the CTPA pathway" in printed


def test_check_says_what_the_runs_variants_learn(tmp_path, capsys):
    """Without a CTPA pathway a CTPA with a report alone teaches nothing."""
    (tmp_path / "c").write_text("a scan")
    (tmp_path / "cohort.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,c,,,1\n")
    (tmp_path / "config.yaml").write_text("train: {variants: [nct_only]}\n")
    main(["check", str(tmp_path / "cohort.csv"), "--config", str(tmp_path / "config.yaml")])
    assert "CTPA alone with a report: 1, teaching nothing" in capsys.readouterr().out


def test_check_says_that_a_cohort_is_too_small_to_train_on(tmp_path, capsys):
    (tmp_path / "nct.nii.gz").write_text("a scan")
    sheet = tmp_path / "cohort.csv"
    sheet.write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,,nct.nii.gz,,0\n")
    assert main(["check", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "0 problems" in printed
    assert "cannot be trained on: cohort.csv: testing has 0 PE" in printed


def test_check_asks_the_runs_configuration_what_can_be_trained_on(tmp_path, capsys):
    """Nobody is outlined: simulated emboli let them train; too few patients stop them then."""
    (tmp_path / "nct.nii.gz").write_text("a scan")
    rows = [f"{kind}{i},,nct.nii.gz,,{label}" for label, kind in enumerate("np") for i in range(4)]
    (tmp_path / "cohort.csv").write_text("\n".join(["patient_id,ctpa,nct,ctpa_mask,label", *rows]))
    simulated = "train: {sampling: {simulated_fraction: 0.5}}"
    for text, problem in (
        ("{}", "no patient with PE who trains has an outline"),
        (simulated, ""),
        (f"{simulated}\nmin_patients: 20", "min_patients is 20"),
    ):
        (tmp_path / "mine.yaml").write_text(text)
        assert main(["check", str(tmp_path / "cohort.csv"), "--config", str(tmp_path / "mine.yaml")]) == 0
        printed = capsys.readouterr().out
        assert ("cannot be trained on" in printed) == bool(problem)
        assert problem in printed
        assert ("2 of them test" in printed) == (text == simulated)  # who is in which part is known
    (tmp_path / "mine.yaml").write_text("train: {unannotated: refuse, sampling: {simulated_fraction: 0.5}}")
    main(["check", str(tmp_path / "cohort.csv"), "--config", str(tmp_path / "mine.yaml")])
    assert "with PE refused, since train.unannotated is refuse" in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text("trian: {}")
    assert main(["check", str(tmp_path / "cohort.csv"), "--config", str(tmp_path / "mine.yaml")]) == 2
    assert "trian" in capsys.readouterr().err


def test_a_mistake_is_one_line_without_a_traceback(tmp_path, capsys):
    assert main(["check", str(tmp_path / "gone.csv")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cpmn: cohort sheet ")
    assert "Traceback" not in error


def test_an_empty_path_is_not_the_current_folder(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "", "-o", "out"])
    assert "argument series: is empty" in capsys.readouterr().err


def test_identity_without_dicom_is_a_mistake(tmp_path, capsys):
    assert main(["predict", str(tmp_path), "-o", str(tmp_path / "out"), "--identity"]) == 2
    assert "Add --dicom" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["phantom", "-o", str(tmp_path / "file" / "out"), "--patients", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cpmn: ")
    assert str(tmp_path / "file") in error


def test_info_is_machine_readable(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["torch"].startswith("2.13.0")
    assert found["python"].startswith("3.")
    assert found["device"] == "cpu"


def test_sync_without_a_run_says_what_to_do(tmp_path, capsys):
    assert main(["track", "sync", "--results", str(tmp_path)]) == 2
    assert "run snakemake first" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["check", "--help"]])
def test_help_is_quick_and_loads_nothing_heavy(command):
    code = f"import sys\nfrom cpmn.cli import main\ntry:\n main({command!r})\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'ants', 'monai', 'mlflow', 'SimpleITK', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
