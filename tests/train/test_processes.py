import pytest
import torch

from cpmn.errors import CpmnError
from cpmn.train import processes
from cpmn.train.processes import own_device


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    chosen = []
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(processes.torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 0)
    assert chosen == [torch.device("cuda", 3), torch.device("cuda", 0)]
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(CpmnError, match=r"processes asks for 2 GPUs or more, and there are 1\. Lower it"):
        own_device(torch.device("cuda"))
