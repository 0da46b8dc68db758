"""A trained network as a graph of tensor operations that runs without this project's code."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cpmn.model.inference import TrainedModel
from cpmn.model.network import Pathway


class WindowReader(nn.Module):
    """What one fold's network says of windows; with `mirror` the mean with their left-right mirror images."""

    def __init__(self, pathway: Pathway, mirror: bool):
        super().__init__()
        self.pathway, self.mirror = pathway, mirror

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of embolus per voxel, and evidence (a logit) on voxels that are coarser by the first strides.

        windows : normalised intensities (n, 1, z, y, x); so are both results.
        """
        probability, evidence = self._read(windows)
        if self.mirror:
            other, other_evidence = self._read(windows.flip(-1))
            return (probability + other.flip(-1)) / 2, (evidence + other_evidence.flip(-1)) / 2
        return probability, evidence

    def _read(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        output = self.pathway(windows)
        return torch.sigmoid(output.logits), output.evidence


def exported(model: TrainedModel, mirror: bool) -> ExportedProgram:
    """Graph of a model on the CPU, for any number of windows and any size that the strides' product divides.

    It holds weights and operations, and no example of an input.
    """
    windows = torch.zeros(2, 1, *model.plan.patch_size[::-1])  # of one window torch would fix the number
    sizes = dict.fromkeys((0, 2, 3, 4), Dim.AUTO)
    reader = WindowReader(model.pathway, mirror).eval().requires_grad_(False)
    program = torch.export.export(reader, (windows,), dynamic_shapes={"windows": sizes})
    program.example_inputs = None
    return program
