"""Settings of `train.sampling`: which patches a step sees."""

from typing import Literal

from pydantic import Field, model_validator

from cpmn.config.section import Section
from cpmn.config.train.kinds import Share


class SamplingConfig(Section):
    """Where patches lie and what they show. What no share asks for lies in and near the lungs."""

    batch_size: int = Field(default=4, ge=1, le=4096, description="Patches per step (count).")
    foreground_fraction: Share = Field(default=0.5, description="Share of patches centred on an embolus (0-1).")
    vein_fraction: Share = Field(
        default=0.0,
        description="Share of patches centred on veins, which hold no embolus: internal negatives, for real patients "
        "with vessels in the cohort sheet (0-1).",
    )
    elsewhere_fraction: Share = Field(
        default=0.0,
        description="Share of patches centred in the crop beyond 20 mm of the lungs: bone, fat and skin, which are "
        "read too; 0 never shows them to the network (0-1).",
    )
    hard_fraction: Share = Field(
        default=0.0,
        description="Share of patches centred where the network gave a clot a probability of 0.3 or more in training "
        "patients without PE, as it read them after a third or two thirds of the steps: hard negatives. Until then "
        "these patches lie near the lungs. Variants of one seed no longer share patches (0-1).",
    )
    ctpa_source: Literal["ctpa", "nct", "shuffled"] = Field(
        default="ctpa",
        description="What the second pathway is fed: the patient's CTPA, the NCT again, or another patient's CTPA.",
    )
    annotated: bool = Field(
        default=True,
        description="Whether PE patients without an outline are learnt from with the one that `annotate` makes, what "
        "it leaves out being unknown; else their label alone teaches.",
    )
    ctpa_alone_patches: int = Field(
        default=1,
        ge=0,
        description="Patches per step of patients with a CTPA alone, where there are any, beside batch_size and for "
        "the CTPA pathway (count).",
    )
    simulated_fraction: Share = Field(
        default=0.0,
        description="Share of the patches near the lungs of patients without PE that show a simulated embolus in a "
        "vessel, labelled and weighed by its visibility; 0 is off (0-1).",
    )
    enough_outlined: int = Field(
        default=16,
        ge=0,
        description="Patients outlined by people from which on patches on clots show theirs alone. Of fewer a network "
        "learns the clots by heart: simulated emboli stand in for those that lack, unless simulated_fraction is 0 "
        "(count).",
    )
    simulated_hu: tuple[float, float] = Field(
        default=(35.0, 10.0),
        description="Mean contrast of simulated emboli at the first and at the last step, in HU: easy to hard.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "SamplingConfig":
        shares = ("foreground_fraction", "vein_fraction", "elsewhere_fraction", "hard_fraction")
        if sum(getattr(self, name) for name in shares) > 1 + 1e-9:  # 0.8 + 0.05 + 0.05 + 0.1 is more than 1
            raise ValueError(f"{', '.join(shares)} must not exceed 1 together")
        return self
