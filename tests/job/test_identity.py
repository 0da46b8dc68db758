"""What identifies a run."""

import subprocess

import pytest

from cpmn.config.root import Config, load_config
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.job.identity import (
    code_version,
    cohort_name,
    cohort_of,
    data_hash,
    describe_run,
    refuse_phantom_instead,
    variant_records,
)


def user_config(folder, **changes):
    (folder / "study/nct").mkdir(parents=True, exist_ok=True)
    (folder / "study/nct/1.dcm").write_bytes(b"12345")
    (folder / "study/cohort.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label\np1,,nct,,0\n")
    return load_config({"cohort": str(folder / "study/cohort.csv"), **changes})


def test_cohort_is_the_phantom_or_the_user_s(tmp_path):
    assert len(cohort_of(Config())) == 12
    assert cohort_name(Config()) == "phantom-learnable"
    config = user_config(tmp_path)
    assert [patient.patient_id for patient in cohort_of(config)] == ["p1"]
    assert cohort_name(config) == "study"


def test_data_hash_follows_files_and_not_their_folder(tmp_path):
    first = data_hash(user_config(tmp_path / "a"))
    assert data_hash(user_config(tmp_path / "b")) == first
    other = user_config(tmp_path / "c")
    (tmp_path / "c/study/nct/2.dcm").write_bytes(b"1")
    assert data_hash(other) != first
    assert data_hash(load_config({"phantom": {"seed": 1}})) != data_hash(load_config({"phantom": {"seed": 2}}))


def test_data_hash_of_links_that_lead_nowhere_or_in_a_circle(tmp_path):
    first = data_hash(user_config(tmp_path / "a"))
    other = user_config(tmp_path / "b")
    (tmp_path / "b/study/nct/again").symlink_to(tmp_path / "b/study/nct")
    (tmp_path / "b/study/nct/2.dcm").symlink_to(tmp_path / "gone.dcm")
    assert data_hash(other) == first


def test_another_series_of_the_same_folder_is_other_data(tmp_path):
    config = user_config(tmp_path)
    (tmp_path / "study/cohort.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label,nct_series\np1,,nct,,0,\n")
    before = data_hash(config)
    assert before == data_hash(user_config(tmp_path / "twin"))
    (tmp_path / "study/cohort.csv").write_text("patient_id,ctpa,nct,ctpa_mask,label,nct_series\np1,,nct,,0,1.2\n")
    assert data_hash(config) != before


def test_the_phantom_never_takes_the_place_of_a_user_s_results(tmp_path):
    results, config = tmp_path / "results", user_config(tmp_path)
    refuse_phantom_instead(results, Config())
    write_json(results / "track.json", describe_run(Config()))
    refuse_phantom_instead(results, Config())
    refuse_phantom_instead(results, config)
    write_json(results / "track.json", describe_run(config))
    refuse_phantom_instead(results, config)
    with pytest.raises(CpmnError, match=r"holds results of .*cohort\.csv, and now no cohort is named"):
        refuse_phantom_instead(results, Config())


def test_record_names_variants_with_base_and_seed(tmp_path):
    values = {"variants": {"s2": {"base": "cpmn", "seed": 2}}, "train": {"variants": ["s2", "nct_only"]}}
    record = describe_run(user_config(tmp_path, **values))
    assert (record["variants"]["s2"]["base"], record["variants"]["s2"]["seed"]) == ("cpmn", 2)
    assert record["variants"]["nct_only"]["settings"]["network"]["pathways"] == ["nct"]
    assert record["cohort"] == "study"


def test_list_of_variants_is_no_setting_of_a_variant():
    few, many = (
        variant_records(load_config({"train": {"variants": names}})) for names in (["cpmn"], ["cpmn", "no_ifa"])
    )
    assert few["cpmn"] == many["cpmn"]


def test_code_version_says_whether_the_tree_is_clean(tmp_path):
    assert code_version(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    commit = code_version(tmp_path)
    assert len(commit) == 40
    (tmp_path / "a").write_text("2")
    assert code_version(tmp_path) == f"{commit}+changes"


def test_dvc_s_own_record_is_no_change_of_the_code(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "cpmn").mkdir()
    for name in ("dvc.lock", "cpmn/a"):
        (tmp_path / name).write_text("1")
    for command in ("init -q", "add -A", "commit -qm first"):
        subprocess.run([*git, *command.split()], check=True)
    (tmp_path / "dvc.lock").write_text("2")  # as DVC does between the stages of one `dvc repro`
    assert "+changes" not in code_version(tmp_path / "cpmn")
    (tmp_path / "cpmn/a").write_text("2")
    assert "+changes" in code_version(tmp_path / "cpmn")
