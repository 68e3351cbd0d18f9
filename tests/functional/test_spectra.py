"""Spectra of sequences against closed forms and SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import signal

from narrows.functional.spectra import log_spectral_distance, magnitudes, stft_loss
from narrows.metrics import log_spectral_distance as measured


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gain", [0.25, 0.5, 1.0, 3.0])
def test_the_loss_of_a_scaled_signal_is_known(gain):
    x = noise(3, 2, 300)
    expected = abs(1 - gain) + abs(math.log(gain))
    loss = stft_loss(x, gain * x, window=64, floor=1e-9)
    torch.testing.assert_close(loss, torch.full((3,), expected, dtype=torch.float64))


@pytest.mark.parametrize("decibel", [-20.0, -3.0, 0.0, 6.0])
def test_the_distance_of_a_gain_is_the_gain_in_decibel(decibel):
    x = noise(3, 1, 300)
    y = 10 ** (decibel / 20) * x
    expected = torch.full((3,), abs(decibel), dtype=torch.float64)
    torch.testing.assert_close(log_spectral_distance(x, y, window=32, floor=1e-9), expected)
    torch.testing.assert_close(measured(x, y, deviation=1e-6), expected)


def test_the_distance_does_not_depend_on_the_unit():
    x, y = noise(2, 1, 400), noise(2, 1, 400, seed=1)
    plain = measured(x, y, deviation=1.0)
    torch.testing.assert_close(measured(1e-3 * x, 1e-3 * y, deviation=1e-3), plain)


def test_magnitudes_are_those_of_scipy():
    x, window = noise(200), 32
    hann = signal.get_window("hann", window)  # periodic, as torch's
    padded = np.concatenate([np.zeros(window // 2), x.numpy(), np.zeros(window // 2)])
    _, _, expected = signal.stft(
        padded, window=hann, nperseg=window, noverlap=window - window // 4, boundary=None,
        padded=False,
    )  # fmt: skip
    expected = np.abs(expected) * hann.sum() / math.sqrt(np.square(hann).sum())
    np.testing.assert_allclose(magnitudes(x, window, floor=0.0).numpy(), expected, atol=1e-12)


def test_silence_is_as_far_from_a_tone_as_the_floor_allows():
    silent, tone = torch.zeros(1, 1, 256).double(), torch.ones(1, 1, 256).double()
    assert log_spectral_distance(silent, silent, window=32, floor=1e-3).item() == 0
    loudest = magnitudes(tone, 32, floor=1e-3).max().item()
    distance = log_spectral_distance(silent, tone, window=32, floor=1e-3).item()
    assert 0 < distance <= 20 * math.log10(loudest / 1e-3)


def test_the_gradient_is_that_of_finite_differences_and_finite_at_silence():
    x, y = noise(2, 1, 24), noise(2, 1, 24, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: stft_loss(x, y, window=8, floor=1e-6), y)
    silent = torch.zeros(1, 1, 24, requires_grad=True)
    stft_loss(torch.zeros(1, 1, 24), silent, window=8, floor=0.01).sum().backward()
    assert silent.grad is not None
    assert bool(silent.grad.isfinite().all())


def test_the_measure_is_for_sequences_of_one_shape():
    for other in (noise(3, 300), noise(3, 1, 299)):
        with pytest.raises(ValueError, match=r"sequences \[batch, channels, t\]"):
            measured(noise(3, 1, 300), other)
