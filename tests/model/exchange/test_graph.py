"""A graph computes what the network computes, at any size, and holds nothing that is pickled."""

import zipfile

import pytest
import torch

from cpmn.model.ensemble import load_sealed
from cpmn.model.exchange.graph import exported
from cpmn.model.seal import verified


@pytest.fixture
def model(files):
    return load_sealed(files, verified(files), "cpu")[0]


def test_a_graph_reads_windows_of_any_size_and_number(model):
    graph = exported(model, mirror=False).module()
    for shape in ((1, 1, 32, 48, 64), (3, 1, 8, 12, 20)):
        windows = torch.randn(shape)
        with torch.no_grad():
            expected, (probability, evidence) = model.pathway(windows), graph(windows)
        torch.testing.assert_close(probability, torch.sigmoid(expected.logits), atol=1e-6, rtol=0)
        torch.testing.assert_close(evidence, expected.evidence, atol=1e-6, rtol=1e-5)
        assert probability.max() - probability.min() > 0.2


def test_a_mirrored_graph_makes_no_difference_of_right_and_left(model):
    graph, windows = exported(model, mirror=True).module(), torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        first, second = graph(windows), graph(windows.flip(-1))
        plain = torch.sigmoid(model.pathway(windows).logits)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other.flip(-1))
    assert not torch.allclose(first[0], plain)


def test_a_stored_graph_holds_no_pickle(model, tmp_path):
    path = tmp_path / "network.pt2"
    torch.export.save(exported(model, mirror=False), path)
    with zipfile.ZipFile(path) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    assert not [name for name, data in content.items() if name.endswith(".pkl") or data[:4] == b"PK\x03\x04"]
    assert content["network/data/sample_inputs/model.pt"] == b""
