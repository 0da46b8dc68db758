"""Components and their matching to clots, on small masks worked by hand. Spacing 1 mm unless said."""

import numpy as np
import pytest

from cpmn.scoring.lesions import Lesions, components, froc, mark_match, match_lesions, overlap_match

MM = (1.0, 1.0, 1.0)


def line(**runs):
    """Mask (1, 1, 40) with value v from a to b (inclusive) for each run named `v<v>=(a, b)`."""
    mask = np.zeros((1, 1, 40), np.uint16)
    for name, (first, last) in runs.items():
        mask[0, 0, first : last + 1] = int(name[1:].split("_")[0])
    return mask


def match(prediction, clots, spacing=MM, probability=None):
    return match_lesions(components(prediction, spacing), clots, spacing, probability)


def test_components_join_over_corners_and_drop_small_ones():
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert components(mask, MM).max() == 1
    mask[1, 1, 1], mask[2, 2, 2] = False, True
    assert components(mask, MM).max() == 2
    assert components(mask, MM, minimum_mm3=1.0).max() == 2
    assert components(mask, MM, minimum_mm3=1.5).max() == 0
    assert components(mask, (0.5, 0.5, 8.0), minimum_mm3=2.0).max() == 2


def test_components_are_numbered_without_gaps_after_dropping():
    labels = components(line(v1=(0, 0), v1_b=(5, 9), v1_c=(20, 22)), MM, minimum_mm3=2.0)
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_a_clot_hit_twice_counts_once_and_a_mark_on_background_is_false():
    lesions = match(line(v1=(10, 11), v1_b=(14, 15), v1_c=(30, 31)), line(v3=(8, 18), v7=(24, 26)))
    assert lesions.clot_ids.tolist() == [3, 7]
    for found, false in (overlap_match(lesions), mark_match(lesions)):
        assert found.tolist() == [True, False]
        assert false.tolist() == [False, False, True]


def test_epsilon_is_measured_in_mm_to_the_clot():
    clots = line(v1=(10, 12))
    lesions = match(line(v1=(15, 15)), clots)
    assert [bool(mark_match(lesions, epsilon)[0][0]) for epsilon in (0, 2, 2.99, 3, 5)] == [False] * 3 + [True] * 2
    coarse = match(line(v1=(15, 15)), clots, spacing=(2.0, 1.0, 1.0))
    assert not mark_match(coarse, 5)[0][0]
    assert mark_match(coarse, 6)[0][0]


def test_touching_dilations_do_not_merge_clots():
    """Clots 6 mm apart touch when dilated by 5 mm: still two clots, of which one mark near the first hits one."""
    clots = line(v1=(10, 12), v2=(18, 20))
    lesions = match(line(v1=(8, 8)), clots)
    found, false = mark_match(lesions, 5.0)
    assert (found.tolist(), false.tolist()) == ([True, False], [False])
    assert lesions.clot_ids.tolist() == [1, 2]


def test_mark_is_the_component_voxel_nearest_to_its_centroid():
    """A ring's centroid is a hole; the mark lies on the ring, where a detection can be checked."""
    ring = np.zeros((1, 7, 7), bool)
    ring[0, 1:6, 1:6] = True
    ring[0, 2:5, 2:5] = False
    lesions = match(ring, np.zeros(ring.shape, int))
    x, y, z = lesions.points_mm[0]
    assert ring[int(z), int(y), int(x)]


def test_points_are_in_physical_order():
    mask = np.zeros((5, 6, 7), bool)
    mask[4, 3, 2] = True
    assert match(mask, np.zeros(mask.shape, int), spacing=(0.5, 1.0, 2.0)).points_mm.tolist() == [[1.0, 3.0, 8.0]]


def test_overlap_fractions():
    """A component of 10 voxels covers 1 of the clot's 4: found at one voxel and 20 %, its own share is 10 %."""
    lesions = match(line(v1=(10, 19)), line(v5=(19, 22)))
    assert [bool(overlap_match(lesions, f)[0][0]) for f in (0.0, 0.1, 0.2, 0.3)] == [True, True, True, False]
    assert [bool(overlap_match(lesions, f)[1][0]) for f in (0.0, 0.1, 0.2)] == [False, False, True]


def test_confidence_is_the_expected_volume_of_clot_in_the_component():
    """Two voxels of 0.5 x 1 x 4 mm (0.002 mL) at 0.6 and 0.8, one at 0.9; without probabilities the volumes."""
    probability = np.zeros((1, 1, 40))
    probability[0, 0, [10, 11, 20]] = 0.6, 0.8, 0.9
    marks, spacing = line(v1=(10, 11), v2=(20, 20)), (0.5, 1.0, 4.0)
    sure = match(marks, line(), spacing=spacing, probability=probability).confidence
    assert sure.tolist() == pytest.approx([1.4 * 0.002, 0.9 * 0.002])
    assert match(marks, line(), spacing=spacing).confidence.tolist() == pytest.approx([0.004, 0.002])
    assert match(line(), line(v1=(3, 4)), probability=probability).confidence.tolist() == []


def test_empty_masks_give_empty_tables():
    nothing = match(line(), line(v1=(3, 4)))
    assert nothing.distance_mm.shape == (0, 1)
    assert mark_match(nothing)[0].tolist() == [False]
    alone = match(line(v1=(3, 4)), line())
    assert mark_match(alone)[1].tolist() == [True]
    assert overlap_match(match(line(), line()))[0].tolist() == []


def test_froc_of_a_hand_worked_pair_of_scans():
    """Confidences, in mm3: clot A .9, clot B .5, clot C missed; false .8 and .6 in the same scan, .4 in the normal one.

    At most 0.5 false per scan (1 in 2 scans): limit .7, A alone. At 1: limit .5, A and B. No clot is won after that.
    """
    probability = np.zeros((1, 1, 40))
    values = {5: 0.9, 10: 0.8, 15: 0.6, 20: 0.5}
    for place, value in values.items():
        probability[0, 0, place] = value
    scan = match(probability > 0, line(v1=(5, 5), v2=(20, 20), v3=(30, 30)), probability=probability)
    normal = match(line(v1=(7, 7)), line(), probability=np.full((1, 1, 40), 0.4))
    assert froc([scan, normal], (0.25, 0.5, 1, 8)) == pytest.approx({0.25: 1 / 3, 0.5: 1 / 3, 1: 2 / 3, 8: 2 / 3})
    assert froc([normal], (1,)) == {1: None}


def naive_froc(patients, rates):
    """By its definition: at every limit, the clots with a mark of that confidence, and the false marks of it."""
    limits = {sure for one in patients for sure in one.confidence}
    total = sum(len(one.clot_ids) for one in patients)
    best = dict.fromkeys(rates, 0.0)
    for limit in limits:
        hit, false = 0, 0
        for one in patients:
            near = one.distance_mm[one.confidence >= limit] <= 1e-6
            hit, false = hit + near.any(axis=0).sum(), false + (~near.any(axis=1)).sum()
        for rate in rates:
            if false / len(patients) <= rate:
                best[rate] = max(best[rate], hit / total)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_froc_is_what_its_definition_says(seed):
    random = np.random.default_rng(seed)
    patients = []
    for _ in range(4):
        marks, clots = random.integers(0, 7), random.integers(0, 4)
        patients.append(
            Lesions(
                clot_ids=np.arange(clots),
                clot_voxels=np.ones(clots, int),
                component_voxels=np.ones(marks, int),
                confidence=random.integers(1, 6, marks) / 10,  # many are equal
                points_mm=np.zeros((marks, 3)),
                overlap=np.zeros((marks, clots), int),
                distance_mm=random.choice([0.0, 9.0], (marks, clots), p=(0.2, 0.8)),
            )
        )
    rates = (0, 0.25, 0.5, 1, 2, 8)
    assert froc(patients, rates) == pytest.approx(naive_froc(patients, rates))
