"""Settings of `train`: splits, network, losses, sampling and schedule."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cpmn.config.section import Section

Phase = Literal["nct", "ctpa"]
Positive = Annotated[float, Field(gt=0)]
Spacing = tuple[Positive, Positive, Positive]
Share = Annotated[float, Field(ge=0, le=1)]
Axis = Literal["x", "y", "z"]


class TrainConfig(Section):
    """What a training depends on. Values are our choice unless a source is given: CPMN's abstract states none."""

    variants: tuple[str, ...] = Field(
        default=("cpmn", "nct_only"), min_length=1, description="Names of the variants to train and compare."
    )
    folds: int = Field(
        default=1,
        ge=1,
        description="Cross-validation folds (count), at most as many as groups of the smaller class; 1 trains one "
        "model on one split.",
    )
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="Share of patients held out for testing (0-1).")
    validation_fraction: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the non-test patients used for validation when folds is 1 (0-1).",
    )
    seed: int = Field(default=0, ge=0, description="Seed of splits, initialisation, sampling and augmentation.")

    pathways: tuple[Phase, ...] = Field(
        default=("nct", "ctpa"), description="Pathways that are trained; nct is always among them."
    )
    shared: tuple[Literal["encoder", "decoder", "heads"], ...] = Field(
        default=(), description="Parts whose weights both pathways share; empty keeps two separate networks."
    )
    pretraining_fraction: Share = Field(
        default=0.0,
        description="Share of the steps at first in which the NCT pathway is fed CTPA patches; 0 is off. "
        "For one pathway: pathways: [nct].",
    )
    ctpa_source: Literal["ctpa", "nct", "shuffled"] = Field(
        default="ctpa",
        description="What the second pathway is fed: the patient's CTPA, the NCT again, or another patient's CTPA.",
    )
    alignment_weight: float = Field(
        default=0.5, ge=0, description="Weight of Inter-Feature Alignment; 0 switches it off."
    )
    alignment_tolerance: int = Field(
        default=0, ge=0, description="Registration error that alignment forgives, in voxels of each feature level."
    )
    alignment_by_label: bool = Field(
        default=False,
        description="Whether features at a clot are aligned only as far as its label weighs on the NCT, so that its "
        "pathway is not asked for what its scan cannot show.",
    )
    alignment_level: int = Field(
        default=1,
        ge=0,
        description="Finest decoder level that is aligned; 0 is full resolution, which is the most phase-specific.",
    )
    affinity_weight: float = Field(
        default=0.1,
        ge=0,
        description="Weight of the affinity term inside Inter-Feature Alignment; 0 switches it off. Its values are "
        "small: in the benchmark a hundredth of those of the features' similarity.",
    )
    mutual_weight: float = Field(
        default=0.5, ge=0, description="Weight of mutual learning of both tasks' predictions; 0 is off."
    )
    mutual_temperature: float = Field(
        default=1.0, gt=0, description="Temperature of mutual learning; above 1 softens both predictions."
    )
    constant: Literal["peer", "ctpa", "none"] = Field(
        default="peer",
        description="Who gets no gradient from alignment and mutual learning: peer (each from the other's side), "
        "ctpa (it only teaches) or none.",
    )
    discrepancy_weight: float = Field(
        default=0.2, ge=0, description="Weight of Intra-Feature Discrepancy; 0 switches it off."
    )
    classification_weight: float = Field(
        default=0.5, ge=0, description="Weight of the classification loss beside segmentation."
    )
    warmup_fraction: float = Field(
        default=0.2, ge=0, le=1, description="Share of the steps over which the three extra terms rise."
    )
    alignment_warmup: Share | None = Field(
        default=None, description="The same for Inter-Feature Alignment alone; null is warmup_fraction."
    )
    mutual_warmup: Share | None = Field(
        default=None, description="The same for mutual learning alone; null is warmup_fraction."
    )
    discrepancy_warmup: Share | None = Field(
        default=None, description="The same for Intra-Feature Discrepancy alone; null is warmup_fraction."
    )

    spacing: Spacing | None = Field(
        default=None,
        description="Working voxel spacing (x, y, z) in mm; null is the median NCT spacing of the training patients.",
    )
    patch_size: tuple[int, int, int] = Field(
        default=(32, 32, 16), description="Patch size (x, y, z) in working voxels."
    )
    window_center: float = Field(
        default=45.0, description="Intensity window centre of the NCT, in HU (blood, unenhanced)."
    )
    window_scale: float = Field(default=20.0, gt=0, description="HU per unit of normalised NCT intensity.")
    blood_window: bool = Field(
        default=False,
        description="Whether the NCT's window is centred on the patient's own blood, measured in the great vessels, "
        "instead of window_center, which then serves scans where it cannot be measured.",
    )
    ctpa_window_center: float = Field(default=250.0, description="Intensity window centre of the CTPA, in HU.")
    ctpa_window_scale: float = Field(default=100.0, gt=0, description="HU per unit of normalised CTPA intensity.")
    clip: float | None = Field(
        default=4.0,
        gt=0,
        description="Normalised intensities are clipped to +- this; null compresses them instead (asinh), so that "
        "lung, fat and bone stay apart.",
    )
    planned: bool = Field(
        default=False,
        description="Whether patch_size and channels are planned from the training patients' crops and memory_gb "
        "instead of taken as given.",
    )
    memory_gb: Positive = Field(
        default=2.0,
        description="Memory that a planned training may take, in GB; counted for "
        "two pathways in every variant: neither pathways nor loss terms change the network.",
    )
    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 96), description="Feature channels per resolution level, multiples of 8 (count)."
    )

    absolute_hu: bool = Field(
        default=False,
        description="Whether the first convolution goes without group norm, which takes a patch's own mean and spread, "
        "so that the finest features keep the patch's HU.",
    )

    steps: int = Field(default=500, ge=1, description="Optimiser steps of one training (count).")
    batch_size: int = Field(default=4, ge=1, description="Patches per step (count).")
    foreground_fraction: float = Field(
        default=0.5, ge=0, le=1, description="Share of patches centred on an embolus (0-1)."
    )
    vessel_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of patches centred on clot-free vessel, in anyone: the hard negatives (0-1).",
    )
    vein_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of patches centred on veins, which hold no embolus: internal negatives, for patients with "
        "vessels in the cohort sheet (0-1).",
    )
    elsewhere_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of patches centred in the crop beyond 20 mm of the lungs: bone, fat and skin, which are "
        "read too; 0 never shows them to the network (0-1).",
    )
    visibility_floor: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Label weight of a clot that cannot be told from blood on NCT; 1 weighs all clots alike (0-1).",
    )
    visible_hu: float = Field(
        default=20.0, gt=0, description="Contrast to the blood around at which a clot counts as fully visible, in HU."
    )
    invisible_hu: float = Field(
        default=0.0, ge=0, description="Contrast to the blood around up to which a clot cannot be told from it, in HU."
    )
    curriculum_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the steps over which the label weight of invisible clots rises from its floor to 1; "
        "0 keeps it at the floor.",
    )
    confidence_floor: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Label weight of clot voxels whose place, carried from the CTPA, cannot be trusted at all; for "
        "variants that read the CTPA, and labels not drawn on the NCT. 1 weighs all alike (0-1).",
    )
    simulated_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the patches of patients without PE that get a simulated embolus, labelled and "
        "weighed by its visibility, where they hold vessel and are no hard negatives; 0 is off (0-1).",
    )
    simulated_hu: tuple[float, float] = Field(
        default=(35.0, 10.0),
        description="Mean contrast of simulated emboli at the first and at the last step, in HU: easy to hard.",
    )
    simulated_dark_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the simulated emboli that are darker than blood by that contrast (0-1).",
    )
    clot_contrast_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the patches with labelled clots whose clots get another contrast to the blood round them "
        "on the NCT, drawn like that of simulated emboli, and with it its visibility; 0 is off (0-1).",
    )
    flip_axes: tuple[Axis, ...] = Field(
        default=("x",), description="Augmentation: axes along which patches are mirrored at random, both phases alike."
    )
    rotation_degrees: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="Augmentation: largest rotation about each axis, both phases alike, in degrees; 0 is off.",
    )
    scaling: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Augmentation: largest relative change of size, both phases alike; 0 is off.",
    )
    gain: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Augmentation: largest relative change of contrast about the window centre, per phase; 0 is off.",
    )
    noise_hu: float = Field(
        default=5.0,
        ge=0,
        description="Augmentation: largest SD of white noise added to a patch of either phase, in HU.",
    )
    shift_hu: float = Field(
        default=3.0, ge=0, description="Augmentation: SD of the intensity offset of a patch of either phase, in HU."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest learning rate of AdamW's schedule.")
    weight_decay: float = Field(default=1e-4, ge=0, description="AdamW weight decay.")
    gradient_clip: float = Field(default=1.0, gt=0, description="Largest gradient norm.")
    schedule: Literal["one_cycle", "poly", "constant"] = Field(
        default="one_cycle",
        description="Learning rate over the steps: one_cycle rises and falls to zero, poly only falls (nnU-Net's).",
    )
    accumulation: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients are averaged in one step; several processes share them (count).",
    )
    processes: int = Field(
        default=1,
        ge=1,
        description="Processes that train one fold together, by torchrun; accumulation must be a multiple (count).",
    )
    ema_decay: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay per step of the weights' moving average, which is then validated and kept; 0 is off.",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Validations without a better validation_score (mean of Dice and AUC) after which training stops "
        "and keeps the best weights; 0 trains all steps and keeps the last weights (count).",
    )
    epoch_steps: int = Field(default=50, ge=1, description="Steps between two rows of history.csv (count).")
    validation_every: int = Field(
        default=3, ge=1, description="Epochs between two full validations (count); the last always runs."
    )
    save_every: int = Field(default=50, ge=1, description="Steps between two resume points (count).")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes CUDA if present."
    )
    mixed_precision: bool = Field(default=True, description="Mixed precision (bfloat16) on CUDA.")
    cpu_bfloat16: bool = Field(
        default=False,
        description="Mixed precision (bfloat16) on CPU, where the processor has AVX512-BF16 or AMX; others "
        "compute in float32, which is faster there.",
    )
    channels_last: bool = Field(
        default=False, description="Memory order channels_last_3d: for CUDA; slower on the CPU that we measured."
    )
    compile: bool = Field(
        default=False,
        description="torch.compile: needs a C++ compiler and 6 to 10 s before the first step, longer for larger ones.",
    )

    @property
    def pretraining_steps(self) -> int:
        """Steps on CTPA before those on NCT; less than all."""
        return min(round(self.pretraining_fraction * self.steps), self.steps - 1)

    @field_validator("pathways")
    @classmethod
    def _has_nct(cls, value: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if "nct" not in value or len(set(value)) != len(value):
            raise ValueError("must hold nct, once, and may hold ctpa")
        return value

    @field_validator("channels")
    @classmethod
    def _grouped(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) < 2 or any(n < 8 or n % 8 for n in value):
            raise ValueError("must be at least two levels, each a multiple of 8 (group norm has 8 groups)")
        return value

    @field_validator("patch_size")
    @classmethod
    def _not_tiny(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(value) < 4:
            raise ValueError("must be at least 4 voxels along every axis")
        return value

    def has_alignment_level(self) -> bool:
        """Whether the network is deep enough for `alignment_level`, or nothing is aligned."""
        return not self.alignment_weight or self.alignment_level < len(self.channels)

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        if self.pretraining_fraction and "ctpa" in self.pathways:
            raise ValueError("pretraining_fraction is for one pathway: set pathways to [nct]")
        if self.accumulation % self.processes:
            raise ValueError(f"accumulation must be a multiple of processes, {self.processes}")
        if not (self.planned or self.has_alignment_level()):
            raise ValueError(f"alignment_level must be below {len(self.channels)}, the number of channels")
        shares = ("foreground_fraction", "vessel_fraction", "vein_fraction", "elsewhere_fraction")
        if sum(getattr(self, name) for name in shares) > 1:
            raise ValueError(f"{', '.join(shares)} must not exceed 1 together")
        if self.alignment_by_label and self.visibility_floor == self.confidence_floor == 1:
            raise ValueError("alignment_by_label needs label weights: visibility_floor or confidence_floor below 1")
        if self.invisible_hu >= self.visible_hu:
            raise ValueError(f"invisible_hu must be below visible_hu, {self.visible_hu:g}")
        return self
