import numpy as np
import pytest

from cpmn.phantom.noise import Noise, Protocol, noise_power, slice_noise
from cpmn.phantom.render import Grid

FINE = Grid((96, 90, 40), (0.7, 0.7, 2.0), (0.0, 0.0, 0.0))


def drawn(kernel: str, grid: Grid = FINE, seed: int = 0) -> np.ndarray:
    noise = Noise(np.full(grid.size[2], 10.0), noise_power(grid, kernel))
    return noise.draw(grid.size, np.random.default_rng(seed))


@pytest.mark.parametrize("thickness", [1.0, 2.5, 5.0])
@pytest.mark.parametrize("dose", [0.5, 1.0, 2.0])
def test_noise_follows_thickness_and_dose(thickness: float, dose: float):
    assert Protocol(dose, "soft").noise_hu(12.0, thickness) == pytest.approx(12 * (3 / (thickness * dose)) ** 0.5)


def test_sizes_are_the_published_ones():
    """Thin slices 15-25 HU, 5 mm 8-12 HU at the usual dose (domain facts) with the default setting."""
    plain = Protocol(1.0, "soft")
    assert 15 <= plain.noise_hu(12.0, 1.0) <= 25
    assert 8 <= plain.noise_hu(12.0, 5.0) <= 12


@pytest.mark.parametrize("kernel", ["soft", "sharp"])
@pytest.mark.parametrize("size", [(96, 90, 40), (95, 91, 41)])
def test_drawn_noise_has_the_given_spread_and_spectrum(kernel: str, size: tuple[int, int, int]):
    grid = Grid(size, FINE.spacing, FINE.origin)
    noise = drawn(kernel, grid)
    assert noise.std() == pytest.approx(10, rel=0.03)
    measured = np.abs(np.fft.rfftn(noise)) ** 2 / noise.size / 100
    power = noise_power(grid, kernel)
    strong = power > 0.3 * power.max()
    assert (measured[strong] / power[strong]).mean() == pytest.approx(1, abs=0.05)


def test_soft_kernel_is_a_ramp_and_a_cutoff():
    """As in real chests: level or rising to 0.35/mm, halved at 0.4-0.5/mm, next to nothing at 0.7/mm."""
    grid = Grid((200, 200, 8), (0.7, 0.7, 3.0), (0.0, 0.0, 0.0))
    power = noise_power(grid, "soft")[0, 0]
    at = dict(zip(np.round(np.arange(101) / (200 * 0.7), 3), power / power[0], strict=True))

    def near(frequency: float) -> float:
        return at[min(at, key=lambda f: abs(f - frequency))]

    assert near(0.3) > near(0.1) > near(0.0)
    half = next(f for f, p in at.items() if f > 0.3 and p < 0.5 * near(0.3))
    assert 0.4 < half < 0.55
    assert near(0.7) < 0.02 * near(0.3)


def test_sharp_noise_is_finer_than_soft():
    soft, sharp = (drawn(kernel) for kernel in ("soft", "sharp"))

    def beside(noise: np.ndarray) -> float:
        return float(np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1])

    assert beside(sharp) < beside(soft) - 0.1


def test_covariance_is_the_inverse_transform_of_the_power():
    """What the reference observer prewhitens with."""
    size = (24, 20, 12)
    grid = Grid(size, (0.8, 0.8, 2.0), (0.0, 0.0, 0.0))
    expected = np.fft.irfftn(noise_power(grid, "soft"), s=size[::-1], axes=(0, 1, 2)) * 1.0
    covariance = np.zeros(size[::-1])
    for seed in range(400):
        spectrum = np.fft.fftn(drawn("soft", grid, seed) / 10)
        covariance += np.fft.ifftn(np.abs(spectrum) ** 2).real / np.prod(size) / 400
    assert covariance == pytest.approx(expected, abs=0.02)


def test_wider_slices_are_noisier():
    sd = slice_noise(np.array([3e4, 4e4, 6e4]), 10.0)
    assert sd.mean() == pytest.approx(10)
    assert sd[0] < sd[1] < sd[2] < 20
