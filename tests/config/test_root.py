"""Configuration: presets are valid, mistakes are named."""

import pytest

from cpmn.config.files import read_config
from cpmn.config.root import Config, load_config
from cpmn.config.variants import BASES, resolve_variant
from cpmn.errors import CpmnError
from cpmn.generate import ROOT


@pytest.mark.parametrize("name", ["config", "tiny", "benchmark", "paired"])
def test_preset_is_valid(name):
    read_config(ROOT / "config" / f"{name}.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"trian": {}}, "trian: is not a setting"),
        ({"train": {"variants": []}}, "train.variants: Tuple should have at least 1 item"),
        ({"train": {"stpes": 4}}, "train.stpes: is not a setting"),
        ({"train": {"schedule": {"steps": "many"}}}, "train.schedule.steps: Input should be a valid integer"),
        ({"train": {"network": {"clip": float("inf")}}}, "train.network.clip: Input should be a finite number"),
        (
            {"train": {"network": {"window_center": float("nan")}}},
            "train.network.window_center: Input should be a finite number",
        ),
        ({"train": {"schedule": {"steps": 0}}}, "train.schedule.steps: Input should be greater than or equal to 1"),
        ({"on_bad_patient": "ignore"}, "on_bad_patient: Input should be 'stop' or 'exclude' (given: 'ignore')"),
        ({"train": {"variants": ["cpmm"]}}, "train.variants: 'cpmm' is not known"),
        (
            {"variants": {"x": {"network": {"pathways": ["ctpa"]}}}, "train": {"variants": ["x"]}},
            "variants.x: evaluation reads the NCT. Name nct among network.pathways.",
        ),
        ({"variants": {"x": {"base": "y"}}, "train": {"variants": ["x"]}}, "variants.x.base: 'y' is not a known base"),
        (
            {"variants": {"x": {"sampling": {"batch_size": -1}}}},
            "variants.x.sampling.batch_size: Input should be greater than",
        ),
        ({"variants": {"x": {"schedule": {"stpes": 4}}}}, "variants.x.schedule.stpes: is not a setting"),
        ({"variants": {"x": {"loss": 4}}}, "variants.x.loss: Input should be a valid dictionary"),
        ({"variants": {"x": {"folds": 2}}}, "variants.x: folds hold for all variants. Set them under 'train'."),
        ({"annotate": {"foreground_fraction": 0.8}}, "annotate.sampling: "),
        ({"annotate": {"channels": [12, 24]}}, "annotate.network.channels: "),
        ({"variants": {"../../evil": {}}}, "variants: '../../evil' names folders and files"),
        ({"variants": {"summary.json": {}}}, "variants: 'summary.json' names folders and files"),
    ],
)
def test_wrong_key_is_named(values, message):
    with pytest.raises(CpmnError) as raised:
        load_config(values)
    assert message in str(raised.value)


def test_variant_is_section_then_base_then_own():
    config = load_config({"variants": {"cpmn-s2": {"base": "cpmn", "seed": 2}}, "train": {"schedule": {"steps": 7}}})
    resolved = resolve_variant(config.train, "cpmn-s2", config.variants)
    assert (resolved.schedule.steps, resolved.seed) == (7, 2)
    assert resolve_variant(config.train, "no_ifa", {}).loss.alignment_weight == 0
    assert resolve_variant(config.train, "nct_only", {}).network.pathways == ("nct",)


def test_a_variant_changes_single_keys_of_a_section():
    train = load_config({"train": {"loss": {"mutual_weight": 0.1, "alignment_weight": 0.2}}}).train
    loss = resolve_variant(train, "strong", {"strong": {"base": "no_ifd", "loss": {"alignment_weight": 2.0}}}).loss
    assert (loss.mutual_weight, loss.alignment_weight, loss.discrepancy_weight) == (0.1, 2.0, 0.0)


def test_a_variant_may_train_longer():
    custom = {"long": {"base": "nct_only", "steps_times": 2.5}, "wrong": {"steps_times": "twice"}}
    train = load_config({"train": {"schedule": {"steps": 10}}}).train
    assert resolve_variant(train, "long", custom).schedule.steps == 25
    assert resolve_variant(train, "nct_only_long", {}).schedule.steps > 15
    with pytest.raises(CpmnError, match=r"variants\.wrong\.steps_times: 'twice' is not a number above 0"):
        resolve_variant(train, "wrong", custom)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": {"foreground_fraction": 0.8, "vein_fraction": 0.4}}, "must not exceed 1 together"),
        ({"schedule": {"pretraining_fraction": 0.5}}, "pretraining_fraction is for one pathway"),
        ({"machine": {"processes": 2}}, "accumulation must be a multiple of processes, 2"),
    ],
)
def test_settings_that_do_not_go_together(changes, message):
    with pytest.raises(CpmnError, match=message):
        load_config({"train": changes})


@pytest.mark.parametrize("times", [1e308, float("inf"), float("nan"), 0, True])
def test_a_training_longer_than_any_is_refused(times):
    with pytest.raises(CpmnError, match=r"steps_times: .* is not a number above 0 and up to 1000"):
        load_config({"variants": {"long": {"base": "cpmn", "steps_times": times}}})


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "a: " + "[" * 5000 + "]" * 5000,
        "a: " + "[" * 60 + "]" * 60,
    ],
    ids=["aliases", "nesting", "shallow-nesting"],
)
def test_a_configuration_that_never_ends_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CpmnError, match=r"cannot be read|more than 100000 values or 50 levels"):
        read_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("uri", ["http://me:hush@mlflow:5000", "postgresql://db/mlflow?user=me&password=hush"])
def test_a_password_in_an_address_is_refused_and_not_repeated(uri):
    with pytest.raises(CpmnError, match=r"track\.uri: .*must hold no password.*MLFLOW_TRACKING_PASSWORD") as raised:
        load_config({"track": {"uri": uri}})
    assert "hush" not in str(raised.value)


def test_a_long_mistake_is_cut():
    with pytest.raises(CpmnError) as raised:
        load_config({"cohort": ["x" * 100_000]})
    assert len(str(raised.value)) < 500


def test_every_base_resolves():
    for name in BASES:
        resolve_variant(Config().train, name, {})


def test_unreadable_configuration_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(CpmnError, match=r"a\.yaml cannot be read"):
        read_config(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(CpmnError, match=r"b\.yaml is not a mapping"):
        read_config(tmp_path / "b.yaml")


def test_shares_that_make_a_whole_are_allowed():
    """0.8 + 0.05 + 0.05 + 0.1 is a little more than 1 in binary."""
    shares = {"foreground_fraction": 0.8, "vein_fraction": 0.05, "elsewhere_fraction": 0.05, "hard_fraction": 0.1}
    load_config({"train": {"sampling": shares}})
