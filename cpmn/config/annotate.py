"""Settings of `annotate`: a reader of CTPA that outlines what nobody outlined."""

from pydantic import Field

from cpmn.config.section import Section
from cpmn.config.train import MachineConfig, TrainConfig
from cpmn.config.train.kinds import Positive, Share, Spacing


class AnnotateConfig(Section):
    """The networks that read CTPA, and what of their reading becomes an outline. All values are our choice."""

    folds: int = Field(
        default=2,
        ge=1,
        description="Networks (count), at most one per outlined patient with PE. Each is trained without a part of the "
        "outlined CTPAs and reads those, which measures it; CTPAs without an outline are read by all, and averaged.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of folds, initialisation, sampling and augmentation.")
    spacing: Spacing | None = Field(
        default=None,
        description="Working voxel spacing (x, y, z) in mm; null is the median CTPA spacing of those that teach.",
    )
    patch_size: tuple[int, int, int] = Field(
        default=(32, 32, 16), description="Patch size (x, y, z) in working voxels."
    )
    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 96), description="Feature channels per resolution level, multiples of 8 (count)."
    )
    window_center: float = Field(default=150.0, description="Intensity window centre, in HU.")
    window_scale: Positive = Field(default=100.0, description="HU per unit of normalised intensity.")
    batch_size: int = Field(default=4, ge=1, description="Patches per step (count).")
    foreground_fraction: Share = Field(default=0.5, description="Share of patches centred on an embolus (0-1).")
    elsewhere_fraction: Share = Field(
        default=0.25,
        description="Share of patches centred beyond 20 mm of the lungs: heart, bone and wall are read too (0-1).",
    )
    hard_fraction: Share = Field(
        default=0.0,
        description="Share of patches that go back to what the network took for clots in patients without PE, as "
        "`train.sampling.hard_fraction` does; for trainings that are long enough to take any (0-1).",
    )
    simulated_fraction: Share = Field(
        default=0.5,
        description="Share of the patches near the lungs of patients without PE that get a simulated filling defect "
        "(0-1).",
    )
    rotation_degrees: float = Field(default=0.0, ge=0, le=180, description="Largest rotation of a patch, in degrees.")
    scaling: float = Field(default=0.0, ge=0, lt=1, description="Largest relative change of size of a patch.")
    steps: int = Field(default=400, ge=1, description="Optimiser steps of each network (count).")
    learning_rate: Positive = Field(default=2e-3, description="Highest learning rate of the cycle.")
    overlap: float = Field(default=0.25, ge=0, lt=1, description="Overlap of neighbouring sliding windows (0-1).")
    threshold: Share = Field(default=0.5, description="Probability from which a voxel is marked (0-1).")
    sure: Share = Field(
        default=0.8, description="A piece is kept as an outline if its highest probability reaches this (0-1)."
    )
    smallest_mm3: float = Field(default=15.0, ge=0, description="Pieces below are dropped, in mm3.")

    def training(self, machine: MachineConfig) -> TrainConfig:
        """Settings of each network's training: one pathway that reads CTPA, on `machine`."""
        return TrainConfig.model_validate(
            {
                "seed": self.seed,
                "network": {
                    "pathways": ("ctpa",),
                    "spacing": self.spacing,
                    "patch_size": self.patch_size,
                    "channels": self.channels,
                    "ctpa_window_center": self.window_center,
                    "ctpa_window_scale": self.window_scale,
                },
                "sampling": {
                    "batch_size": self.batch_size,
                    "foreground_fraction": self.foreground_fraction,
                    "elsewhere_fraction": self.elsewhere_fraction,
                    "hard_fraction": self.hard_fraction,
                    "simulated_fraction": self.simulated_fraction,
                    "enough_outlined": 0,  # with stand-ins it found more clots, and marked much else
                },
                "augmentation": {
                    "flip_axes": ("x", "y", "z"),
                    "rotation_degrees": self.rotation_degrees,
                    "scaling": self.scaling,
                },
                "loss": {"discrepancy_weight": 0.0},
                "schedule": {
                    "steps": self.steps,
                    "learning_rate": self.learning_rate,
                    "validation_every": self.steps,
                },
                "machine": machine,
            }
        )
