"""Shares of places found again, of features that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from study import retrieval
from study.retrieval import _found
from tests.settings import train_config


class Known:
    """Stands in for two pathways: features of two patches, of the CTPA's made of the NCT's by `change`."""

    def __init__(self, change):
        self.change, self.random = change, torch.Generator().manual_seed(0)

    def eval(self):
        return self

    def __call__(self, _batch):
        features = torch.randn(2, 32, 4, 4, 8, generator=self.random)
        levels = [[features, features], [features, self.change(features)]]
        return {name: SimpleNamespace(features=one) for name, one in zip(("nct", "ctpa"), levels, strict=True)}


@pytest.mark.parametrize(
    ("change", "share"),
    [
        (lambda features: 3 * features + 7, 1.0),
        (lambda features: features.roll(1, 4), 7 / 8),  # one place aside, but for the last ones, which come first
        (lambda features: features.roll(4, 4), 0.0),
    ],
)
def test_a_place_is_found_where_the_likest_features_lie_beside_it(monkeypatch, change, share):
    monkeypatch.setattr(retrieval, "sample_batch", lambda *_: SimpleNamespace(paired=[0, 1]))
    found, chance = _found(Known(change), [], train_config(), "ctpa", mirrored=True)  # pyright: ignore[reportArgumentType]
    assert found.shape == (80,)
    assert np.allclose(found, share)
    assert chance == pytest.approx((10 / 16) ** 2 * 22 / 64)  # of 4, 4 and 8 places so many lie within one
