"""Every check: what it holds against what, its limits, where they come from, and what follows.

The table of docs/reference/checks.md is written from here (`python -m cpmn.generate`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One check.

    of : scan, pair, mask or cohort.
    compares : the facts that are held against each other.
    limits : what is accepted, with the figures.
    source : where the limits come from.
    refuses : whether a failure stops the patient (or the run, for a cohort); else it is warned of.
    """

    of: str
    compares: str
    limits: str
    source: str
    refuses: bool = True


CHECKS: dict[str, Check] = {
    "contrast": Check(
        of="scan",
        compares="the blood's HU in heart and great vessels, the phase that the scan is given as, and its tags",
        limits="110 HU and more is contrast, up to 90 none; tags count where the image does not tell",
        source="ours; unenhanced blood has 20 to 65 HU, a filled pulmonary artery 200 and more",
    ),
    "virtual": Check(
        of="scan",
        compares="ImageType and series description with a measured image",
        limits="virtual non-contrast, material and monoenergetic images are no NCT; the last may serve as a CTPA",
        source="DICOM PS3.3 C.8.15.3.1.1, and the vendors' names",
    ),
    "acquisition": Check(
        of="scan",
        compares="tube voltage, kernel, frame of reference, agent, direction, number and time of a series' slices",
        limits="slices that differ, or passes over one stretch, are told apart; the best is taken",
        source="ours",
        refuses=False,
    ),
    "level": Check(
        of="scan",
        compares="the tissue of each slice with that of the next",
        limits="its median changes by less than 20 HU (refused from 40)",
        source="ours, by real and phantom scans (cpmn/checks/slices.py)",
    ),
    "slices": Check(
        of="scan",
        compares="each slice of the image with its neighbours",
        limits="differences over two gaps at least 1.1 times those over one (warned of below 1.35); a jump at most "
        "1.15 times its neighbours in half of the slice (warned of)",
        source="ours, by real and phantom scans (cpmn/checks/slices.py)",
    ),
    "numbering": Check(
        of="scan",
        compares="the slices' instance numbers with the slices that are there",
        limits="no number missing between the first and the last, and the first is 1 or less",
        source="ours",
        refuses=False,
    ),
    "unreadable": Check(
        of="scan",
        compares="the folder's files with the slices",
        limits="no empty file, and none that is named as the slices are and cannot be read",
        source="ours",
        refuses=False,
    ),
    "geometry": Check(
        of="scan",
        compares="an image file's geometry with what programs write that know none",
        limits="not voxels of 1 x 1 x 1 mm, the first at exactly (0, 0, 0)",
        source="ours; NIfTI's and MetaImage's defaults",
    ),
    "hounsfield": Check(
        of="scan",
        compares="darkest values and peaks of soft tissue in the image with air, fat and muscle",
        limits="darkest 0.5 % below -850 HU; a peak from -150 to -40 or from 10 to 120 HU; none of 30 % of the "
        "highest elsewhere from -400 to 10; at most 40 % of all above -400 above 400; not asked of less than 100 mm",
        source="ours, by real and phantom scans (cpmn/checks/image.py)",
    ),
    "lung_size": Check(
        of="scan",
        compares="the lungs' size by the stated voxels with human lungs",
        limits="at most 11 L and 400 mm wide; whole ones 0.4 to 1.6 times as high as wide; not asked below 300 mL",
        source="ours",
        refuses=False,
    ),
    "spine_behind": Check(
        of="scan",
        compares="bone on the six faces of the lungs' box with the axes",
        limits="no face with 1.2 times that of the back; the back at least 40 % of front and back; more along the "
        "body than across",
        source="ours, by real and phantom scans (cpmn/checks/body.py)",
        refuses=False,
    ),
    "head_up": Check(
        of="scan",
        compares="height of air (trachea) and of soft tissue (heart) between the lungs with the axes",
        limits="air higher by at least 15 % of the lungs' height; not asked where the image cuts a lung's side",
        source="ours, by real and phantom scans (cpmn/checks/body.py)",
        refuses=False,
    ),
    "heart_left": Check(
        of="scan",
        compares="thick tissue under the lungs (liver) and the lungs before the heart with the axes",
        limits="tissue to the right of the spine in mm, and 2.3 mm more for each % above 50 of that lung on the right: "
        "-8 or more; asked where all else stands right",
        source="ours, by real and phantom scans (cpmn/checks/body.py)",
        refuses=False,
    ),
    "same_patient": Check(
        of="pair",
        compares="the patient numbers (hashed) of both scans",
        limits="equal, where both have one",
        source="ours",
    ),
    "interval": Check(
        of="pair",
        compares="the times of both scans",
        limits="at most convert.maximum_interval_hours (24) apart; above 1 hour warned of",
        source="SPTA: perfect within 1 hour, good within 12",
    ),
    "mask_label": Check(
        of="mask",
        compares="whether an nct_truth marks clots with the row's label",
        limits="no clot with label 0; none with label 1 is warned of (in a ctpa_mask or nct_mask both are errors)",
        source="the columns' meaning",
    ),
    "mask_volume": Check(
        of="mask",
        compares="the volume of all clots with those of patients",
        limits="at most 200 mL; above 60 mL warned of",
        source="domain facts: 1 to 20 mL in all; the limits are ours, and generous",
    ),
    "mask_clots": Check(
        of="mask",
        compares="the mask's values with its connected pieces",
        limits="several values are clot ids, at most 3 per connected piece (asked from 11 values); one value is split "
        "into connected pieces; more than 100 clots are warned of",
        source="ours; a patient has about 10 clots (1,497 in 149)",
    ),
    "mask_tissue": Check(
        of="mask",
        compares="the mask with the scan's HU where it lies",
        limits="at least half of the mask between -200 and 250 HU; below 70 % warned of",
        source="ours, by 57 phantom pairs, real chests among them (cpmn/checks/mask.py)",
    ),
    "mask_mirrored": Check(
        of="mask",
        compares="the mask as it is with itself mirrored, turned, and one slice further",
        limits="none of these lies in tissue with 70 % of the mask and 20 % more than as it is; above 15 % warned of",
        source="ours, by the same pairs",
    ),
    "mask_phase": Check(
        of="mask",
        compares="the mask in its own scan with the mask in the other phase's, where both have one grid",
        limits="not in tissue of the other scan with 70 % of the mask and 20 % more than of its own; above 15 % warned "
        "of",
        source="ours, as those of mask_mirrored",
    ),
    "mask_blood": Check(
        of="mask",
        compares="the HU in and about a mask with opacified blood (CTPA alone)",
        limits="median at most 200 HU, or 85 % of that of opacified blood and bone; above 150 HU and 70 % warned of; "
        "a quarter of it within 10 mm of 110 HU and more, else warned of",
        source="domain facts: clots have 6 to 87 HU, opacified arteries 200 and more",
    ),
    "shared_scan": Check(
        of="cohort",
        compares="the voxels (hashed) of all rows",
        limits="no two patients have a scan of equal voxels, however it was stored",
        source="ours",
    ),
    "shared_patient": Check(
        of="cohort",
        compares="the patient numbers (hashed) of all rows with the column group",
        limits="rows of one number are in one group; a number of more than 3 groups is a placeholder, and warned of",
        source="ours",
    ),
}
