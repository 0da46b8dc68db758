"""Who is in a cohort of real chests."""

from types import SimpleNamespace

import pytest

from cpmn.cli import main
from cpmn.cohort.sheet import load_cohort
from cpmn.cohort.splits import split_cohort
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.phantom.chest import stage
from cpmn.phantom.chest.stage import _write_sheet, chest_rows, write_chest_cohort


@pytest.mark.parametrize("chests", [2, 3, 5])
def test_testing_is_on_an_unseen_chest(chests, tmp_path):
    rows = chest_rows(chests, 4)
    _write_sheet(rows, tmp_path / "cohort.csv")
    patients = load_cohort(tmp_path / "cohort.csv")
    splits = split_cohort(patients, TrainConfig())
    chest_of = {row.pair_id: row.chest for row in rows}
    parts = {"test": splits["test"], **splits["folds"][0]}
    tested, trained, validated = ({chest_of[name] for name in parts[p]} for p in ("test", "train", "validation"))
    assert not tested & (trained | validated)
    assert bool(trained & validated) is (chests == 2)  # two chests cannot serve three parts
    assert sorted(name for ids in parts.values() for name in ids) == sorted(chest_of)
    for ids in parts.values():
        assert {patient.label for patient in patients if patient.patient_id in ids} == {0, 1}


@pytest.mark.parametrize(("chests", "pairs"), [(1, 8), (3, 3)])
def test_too_few(chests, pairs):
    with pytest.raises(CpmnError, match="at least 2 chests and at least 4 pairs"):
        chest_rows(chests, pairs)


def test_mistakes_end_with_2_before_anything_is_read(tmp_path, capsys):
    series = [str(tmp_path / "a"), str(tmp_path / "b")]
    with pytest.raises(SystemExit, match="2"):
        main(["chest-phantom", *series, "-o", str(tmp_path / "out"), "--difficulty", "easy"])
    assert "invalid choice: 'easy' (choose from 'learnable', 'mixed', 'realistic'" in capsys.readouterr().err
    assert main(["chest-phantom", series[0], "-o", str(tmp_path / "out")]) == 2
    assert main(["chest-phantom", *series, "-o", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["chest-phantom", *series, "-o", str(tmp_path / "out"), "--shrink", "0"]) == 2
    assert "--shrink is 0" in capsys.readouterr().err
    assert main(["chest-phantom", *series, f"{tmp_path}/./a", "-o", str(tmp_path / "out")]) == 2
    assert "a is given twice: training and testing would share a chest" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pairs_of_the_same_settings_are_kept_and_others_made_again(tmp_path, monkeypatch):
    def write(chest, _row, folder, *, seed, difficulty, settings) -> None:
        write_json(folder / "phantom.json", {"settings": settings, "source": chest.facts})

    monkeypatch.setattr(stage, "read_chest", lambda path, *_: SimpleNamespace(facts={"source_sha256": path.name[0]}))
    monkeypatch.setattr(stage, "write_pair", write)
    settings = {"pairs": 4, "seed": 1, "difficulty": "learnable", "shrink": 2}

    def made(chests: tuple[str, ...] = ("a", "b"), **changes) -> dict[str, bool]:
        seen: dict[str, bool] = {}
        series = [tmp_path / name for name in chests]
        write_chest_cohort(series, tmp_path / "out", **(settings | changes), done=seen.__setitem__)
        return seen

    assert list(made().values()) == [True] * 8
    assert list(made().values()) == [False] * 8
    assert list(made(pairs=5).values()) == [False] * 4 + [True] + [False] * 4 + [True]
    assert list(made(("a", "c")).values()) == [False] * 4 + [True] * 4  # another chest in b's place
    with pytest.raises(CpmnError, match=r"copy holds the same scan as .*a: training and testing would share"):
        made(("a", "a copy"), seed=2)
    for copied in ("a", "c"):  # of a chest that is finished and is not read again
        with pytest.raises(CpmnError, match=rf"{copied} copy holds the same scan as .*{copied}: training and testing"):
            made(("a", "c", f"{copied} copy"))
    assert list(made(("a", "c"), difficulty="mixed").values()) == [True] * 8
