"""Which files a stage depends on, and what they are together."""

import ast
import os
from pathlib import Path

import pytest
import yaml

import cpmn.job.dependencies as sources
from cpmn.errors import CpmnError
from cpmn.job.dependencies import ROOT, code_of, listing, require_code, source_files


def names(module):
    return {str(Path(path).relative_to(ROOT)) for path in source_files(module)}


def test_a_module_its_imports_and_their_packages():
    found = names("cpmn.config.variants")
    assert found == {
        "cpmn/__init__.py",
        "cpmn/errors.py",
        "cpmn/config/__init__.py",
        "cpmn/config/keys.py",
        "cpmn/config/mistakes.py",
        "cpmn/config/section.py",
        "cpmn/config/variants.py",
        *(f"cpmn/config/train/{path.name}" for path in (ROOT / "cpmn/config/train").glob("*.py")),
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
    assert {"cpmn/model/losses.py", "cpmn/model/network.py", "cpmn/config/train/loss.py"} <= names("cpmn.train.stage")


def test_dvc_watches_all_that_the_phantom_s_rules_watch():
    watched = {Path(name) for name in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["phantom"]["deps"]}
    rules = (ROOT / "workflow/rules/phantom.smk").read_text()
    scripts = {
        Path("workflow/scripts", Path(line.strip().strip('"')).name) for line in rules.splitlines() if ".py" in line
    }
    assert len(scripts) == 2
    for path in {*map(Path, names("cpmn.phantom.stage")), *scripts}:
        assert watched & {path, *path.parents}, path


def test_the_hash_of_code_is_of_what_it_says_wherever_and_whenever_it_was_written(tmp_path, monkeypatch):
    """A check-out of another branch and back changes times alone."""

    def found(folder: str, imported: str = "x = 1\n") -> dict[str, str]:
        package = tmp_path / folder / "cpmn"
        package.mkdir(parents=True, exist_ok=True)
        texts = {"__init__": "", "made_up_stage": "from cpmn.made_up_part import x\n", "made_up_part": imported}
        texts["made_up_other"] = f"# {folder}\n"  # imported by nothing
        for name, text in texts.items():
            (package / f"{name}.py").write_text(text)
        monkeypatch.setattr(sources, "ROOT", tmp_path / folder)
        sources._text.cache_clear()
        sources._imports.cache_clear()
        return code_of("cpmn.made_up_stage")

    first = found("one")
    assert found("two") == first
    require_code(first)
    assert found("two", "x = 2\n") != first
    with pytest.raises(CpmnError, match=r"the code of cpmn\.made_up_stage changed since this run began"):
        require_code(first)
    assert list(code_of("cpmn.made_up_stage", "cpmn.made_up_other")) == ["cpmn.made_up_stage", "cpmn.made_up_other"]


def test_a_listing_changes_with_every_file_wherever_it_lies(tmp_path):
    (tmp_path / "series").mkdir()
    for name in ("series/2.dcm", "1.dcm", "{odd}\udcff\n.dcm"):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (5, 5))
    before = listing(tmp_path)
    (tmp_path / ".DS_Store").touch()
    assert listing(tmp_path) == before
    os.utime(tmp_path / "series/2.dcm", (4, 4))  # an older file copied over it, with its time
    assert listing(tmp_path) != before
    os.utime(tmp_path / "series/2.dcm", (5, 5))
    assert listing(tmp_path) == before
    (tmp_path / "series/2.dcm").rename(tmp_path / "2.dcm")
    assert listing(tmp_path) != before


def test_a_listing_changes_with_files_in_linked_folders_and_with_a_link_s_file_that_arrives(tmp_path):
    scan, elsewhere = tmp_path / "scan", tmp_path / "disc"
    scan.mkdir()
    elsewhere.mkdir()
    (scan / "1.dcm").symlink_to(tmp_path / "1.dcm")
    (scan / "more").symlink_to(elsewhere)
    listings = [listing(scan)]
    for path in (elsewhere / "2.dcm", tmp_path / "1.dcm"):
        path.write_text("x")
        listings.append(listing(scan))
    assert len(set(listings)) == 3


def test_a_listing_of_a_file_changes_with_an_older_one_in_its_place_and_with_the_voxels_of_a_header(tmp_path):
    header, voxels, mask = (tmp_path / name for name in ("a.mhd", "a.raw", "mask.nii.gz"))
    for path in (header, voxels, mask):
        path.write_text("x")
        os.utime(path, (5, 5))
    before = [listing(path) for path in (header, mask)]
    os.utime(mask, (4, 4))
    voxels.write_text("y" * 2)
    after = [listing(path) for path in (header, mask)]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_imports_are_those_of_the_parsed_text():
    for path in (ROOT / "cpmn").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        parsed = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                parsed |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                parsed |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert set(sources._imports(module)) == {
            name for name in parsed if name[:4] == "cpmn" and sources._exists(name)
        }, module
