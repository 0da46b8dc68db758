"""Settings of `train.machine`: what a training runs on."""

from typing import Literal

from pydantic import Field, model_validator

from cpmn.config.section import Section


class MachineConfig(Section):
    """Device, precision and processes."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes CUDA if present."
    )
    bfloat16: Literal["auto"] | bool = Field(
        default="auto",
        description="Mixed precision (bfloat16): auto on CUDA alone, true on processors with AVX512-BF16 or AMX too. "
        "What has no instructions for it computes in float32, which is faster there.",
    )
    channels_last: bool = Field(
        default=False,
        description="Memory order channels_last_3d: for GPUs with tensor cores; slower on the CPU that we measured.",
    )
    accumulation: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Batches whose gradients are averaged in one step, where one batch of that size does not fit into "
        "memory; several processes share them (count).",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes that train one fold together, by torchrun, one for each GPU; accumulation must be a "
        "multiple (count).",
    )
    save_every: int = Field(default=50, ge=1, le=10_000_000, description="Steps between two resume points (count).")

    @model_validator(mode="after")
    def _shared_out(self) -> "MachineConfig":
        if self.accumulation % self.processes:
            raise ValueError(f"accumulation must be a multiple of processes, {self.processes}")
        return self
