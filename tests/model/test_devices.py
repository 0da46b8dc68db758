import pytest
import torch

from cpmn.errors import CpmnError
from cpmn.model.devices import choose_device, has_bfloat16, mixed_precision


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_absent_gpu():
    assert choose_device("auto").type == "cpu"
    with pytest.raises(CpmnError, match="no CUDA GPU"):
        choose_device("cuda")


@pytest.mark.parametrize(("capability", "there"), [("avx512_bf16", True), ("amx_bf16", True), ("avx512_f", False)])
def test_bfloat16_needs_a_processor_that_has_it(monkeypatch, capability, there):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {capability: True, "amx_fp16": False, "cpu_name": "bf16"}
    )
    assert has_bfloat16() is there
    assert mixed_precision(torch.device("cpu"), True)._enabled is there
    assert mixed_precision(torch.device("cpu"), False)._enabled is False


@pytest.mark.parametrize("there", [True, False])
def test_bfloat16_needs_a_gpu_that_has_it(monkeypatch, there):
    """No GPU here: what PyTorch would say of one is made up."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: there and not including_emulation)
    assert has_bfloat16(torch.device("cuda")) is there
