"""Which files a stage's rule watches."""

import os
from pathlib import Path

from cpmn.sources import ROOT, newest_file, source_files


def names(module):
    return {str(Path(path).relative_to(ROOT)) for path in source_files(module)}


def test_a_module_its_imports_and_their_packages():
    found = names("cpmn.config.variants")
    assert found == {
        "cpmn/__init__.py",
        "cpmn/errors.py",
        "cpmn/config/__init__.py",
        "cpmn/config/section.py",
        "cpmn/config/train.py",
        "cpmn/config/variants.py",
    }


def test_a_change_in_training_does_not_touch_preprocessing():
    for stage in ("phantom", "convert", "register", "propagate", "crop"):
        watched = names(f"cpmn.{stage}.stage")
        assert not {name for name in watched if "train" in name or "network" in name or "losses" in name}, stage


def test_no_stage_imports_another():
    stages = ("phantom", "convert", "register", "propagate", "crop", "train", "evaluate", "report")
    for stage in stages:
        others = {f"cpmn/{other}/stage.py" for other in stages if other != stage}
        assert not others & names(f"cpmn.{stage}.stage"), stage


def test_losses_and_network_belong_to_training():
    assert {"cpmn/losses.py", "cpmn/network.py", "cpmn/config/train.py"} <= names("cpmn.train.stage")


def test_the_file_written_last_counts_wherever_it_lies(tmp_path):
    assert newest_file(tmp_path) is None
    (tmp_path / "series").mkdir()
    for second, name in enumerate(["series/2.dcm", "1.dcm", ".DS_Store", "unprintable\n.dcm"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (second, second))
    assert newest_file(tmp_path) == tmp_path / "1.dcm"
    os.utime(tmp_path / "series/2.dcm", (9, 9))
    assert newest_file(tmp_path) == tmp_path / "series/2.dcm"
