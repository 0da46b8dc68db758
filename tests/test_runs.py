"""What identifies a run."""

import subprocess

from cpmn.config.root import Config, load_config
from cpmn.runs import code_version, cohort_name, cohort_of, data_hash, describe_run, variant_records


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


def test_record_names_variants_with_base_and_seed(tmp_path):
    values = {"variants": {"s2": {"base": "cpmn", "seed": 2}}, "train": {"variants": ["s2", "nct_only"]}}
    record = describe_run(user_config(tmp_path, **values))
    assert (record["variants"]["s2"]["base"], record["variants"]["s2"]["seed"]) == ("cpmn", 2)
    assert record["variants"]["nct_only"]["settings"]["pathways"] == ["nct"]
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
