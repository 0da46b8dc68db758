"""The catalogue's words against the constants that the checks go by: whoever moves a limit corrects its page."""

import pytest

from cpmn.checks import body, cohort, image, mask, pair, slices
from cpmn.checks.catalogue import CHECKS

LIMITS = {
    "slices": (
        f"at least {slices.ALTERNATING_REFUSED:g} times",
        f"below {slices.ALTERNATING_DOUBTFUL:g}",
        f"at most {slices.JUMP_DOUBTFUL:g} times",
    ),
    "hounsfield": (
        f"darkest {image.DARK_PERCENTILE:g} % below {image.AIR_HU:g} HU",
        f"from {image.FAT_HU[0]:g} to {image.FAT_HU[1]:g}",
        f"from {image.MUSCLE_HU[0]:g} to {image.MUSCLE_HU[1]:g} HU",
        f"of {image.TALL_SHARE:.0%}".replace("%", " %"),
        f"at most {image.BRIGHT_SHARE:.0%}".replace("%", " %"),
    ),
    "lung_size": (
        f"at most {body.LUNGS_ML / 1000:g} L and {body.LUNGS_WIDTH_MM:g} mm wide",
        f"{body.LUNGS_HEIGHT[0]:g} to {body.LUNGS_HEIGHT[1]:g} times",
        f"below {body.LUNGS_LEAST_ML:g} mL",
    ),
    "spine_behind": (f"{body.SPINE_AGAINST:g} times", f"at least {100 * body.BEHIND:g} %"),
    "head_up": (f"at least {100 * body.UPRIGHT:g} %",),
    "heart_left": (f"{body.HEART_MM / 100:g} mm", f"{body.MIRRORED_MM:g} or more"),
    "interval": (f"above {pair.SOON_HOURS:g} hour",),
    "mask_volume": (f"at most {mask.LARGEST_ML:g} mL", f"above {mask.LARGE_ML:g} mL"),
    "mask_clots": (
        f"at most {mask.VALUES_PER_PIECE:g} per connected piece",
        f"from {mask.FEW_VALUES + 1} values",
        f"more than {mask.MANY_CLOTS} clots",
    ),
    "mask_tissue": (
        f"between {mask.TISSUE_HU[0]:g} and {mask.TISSUE_HU[1]:g} HU",
        f"below {100 * mask.FEW_IN_TISSUE:g} %",
    ),
    "mask_mirrored": (f"{100 * mask.FAR_BETTER:g} % more", f"above {100 * mask.BETTER:g} %"),
    "mask_phase": (f"{100 * mask.FAR_BETTER:g} % more", f"above {100 * mask.BETTER:g} %"),
    "mask_blood": (
        f"at most {mask.CLOT_HU[1]:g} HU, or {100 * mask.OF_BLOOD[1]:g} %",
        f"above {mask.CLOT_HU[0]:g} HU and {100 * mask.OF_BLOOD[0]:g} %",
        f"within {mask.REACH_MM:g} mm of {mask.OPACIFIED_HU:g} HU",
    ),
    "shared_patient": (f"more than {cohort.GENERIC} groups",),
}


@pytest.mark.parametrize("check", LIMITS)
def test_the_words_name_the_limits_in_force(check):
    assert [text for text in LIMITS[check] if text not in CHECKS[check].limits] == []
