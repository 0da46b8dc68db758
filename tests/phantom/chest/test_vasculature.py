"""Finding airways and vessels in computed and in real chests."""

import numpy as np
import pytest

from cpmn.cohort.sheet import load_cohort, missing_files
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.dicom.scanners import CHEST_MODEL
from cpmn.errors import CpmnError, PatientError
from cpmn.files import read_json
from cpmn.phantom.chest.source import read_chest
from cpmn.phantom.chest.stage import Pair, _write_sheet, write_pair
from cpmn.phantom.chest.vasculature import arterial_parts, find_carina
from cpmn.volume.images import read_image


def test_carina_is_where_the_airway_divides(chest, tube):
    hu = np.where(chest.lungs, -850.0, 30.0)
    hu[tube((20, 32), 2, slice(14, 24))] = -1000
    hu[tube((20, 29), 1.3, slice(0, 14)) | tube((20, 35), 1.3, slice(0, 14))] = -1000
    assert find_carina(hu, chest.lungs, chest.grid.spacing).tolist() == pytest.approx([14, 20, 32], abs=0.6)


def test_no_trachea(chest):
    with pytest.raises(CpmnError, match="no trachea that divides was found"):
        find_carina(np.where(chest.lungs, -850.0, 30.0), chest.lungs, chest.grid.spacing)


def test_the_vessel_beside_a_bronchus_is_the_artery(chest, tube):
    left, right = tube((24, 16), 2, slice(2, 20)), tube((24, 46), 2, slice(2, 20))
    found = arterial_parts(left | right, tube((28, 18), 5, slice(0, 24)), chest.grid.spacing)
    assert found[left].all()
    assert not found[right].any()
    assert found.shape == left.shape


@pytest.mark.real_data
def test_voxels_that_would_hide_the_vessels_are_refused(real_data):
    with pytest.raises(PatientError, match=r"averaged 200 x 200 would be \d+\.\d mm wide.* smaller --shrink"):
        read_chest(real_data / "lung_pet_ct_dx/A0002/B40f", "chest1", shrink=200)


@pytest.mark.slow
@pytest.mark.real_data
def test_pair_of_a_real_chest(real_data, tmp_path):
    chest = read_chest(real_data / "lung_pet_ct_dx/A0002/B40f", "chest1", shrink=4)
    volume = chest.grid.voxel_ml
    assert 10 < chest.vessels.central.sum() * volume < 90  # mL
    for share in (np.where(chest.vessels.central, 0, chest.vessels.artery), chest.vessels.vein):
        assert 3 < share.sum() * volume < 120
        assert (share[~chest.lungs] == 0).all()
    assert 20 < chest.vessels.blood_hu < 70
    row = Pair("chest1-01", "chest1", 1, "train", "chest1")
    write_pair(chest, row, tmp_path / row.pair_id, seed=1, difficulty="learnable", settings="")
    _write_sheet([row], tmp_path / "cohort.csv")
    (patient,) = load_cohort(tmp_path / "cohort.csv")
    assert missing_files(patient) == []
    assert patient.nct is not None
    nct, facts = read_scan(patient.nct, patient="x", phase="nct", series_uid="", config=ConvertConfig())
    assert facts["scanner"]["model"] == CHEST_MODEL
    assert patient.nct_truth is not None
    truth = read_image(patient.nct_truth)
    assert truth.GetSize() == nct.GetSize()
    told = read_json(tmp_path / row.pair_id / "phantom.json")
    assert told["synthetic"] == "disease"
    assert sum(clot["ml"]["nct"] for clot in told["clots"]) > 0.5
