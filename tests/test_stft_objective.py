"""The bound with a distance of spectra beside it."""

import pytest
import torch

import narrows as nw
from narrows.functional.spectra import stft_loss
from narrows.objectives import MultiResolutionSTFT


def model(objective: MultiResolutionSTFT | None) -> nw.Autoencoder:
    torch.manual_seed(0)
    network = nw.Conv(hidden=8, residual_hidden=4)
    return nw.Autoencoder((2, 96), nw.Identity(4), network=network, objective=objective)


def test_the_total_is_the_bound_and_the_mean_distance_per_value():
    x = torch.randn(5, 2, 96)
    ours, plain = model(MultiResolutionSTFT(0.5, (16, 32))), model(None)
    loss, bound = ours.loss(x), plain.loss(x)
    both = [stft_loss(x, bound.output, window=window, floor=0.01) for window in (16, 32)]
    distance = torch.stack(both).mean(0)
    torch.testing.assert_close(loss.terms["stft"], distance)
    torch.testing.assert_close(loss.total, bound.total + 0.5 * 192 * distance.mean())
    torch.testing.assert_close(ours.eval().loss(x).total, plain.eval().loss(x).total)


def test_the_distance_is_in_units_of_the_training_set():
    x = torch.randn(5, 2, 96)
    found = []
    for scale in (1.0, 1e-3):
        one = model(MultiResolutionSTFT())
        one.learn_units(torch.zeros(2, 1), scale**2)
        found.append(one.loss(scale * x).terms["stft"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_training_with_it_brings_spectra_nearer():
    generator = torch.Generator().manual_seed(0)
    phase = 6.3 * torch.rand(120, 1, 1, generator=generator)
    pitch = 0.2 + 0.5 * torch.rand(120, 1, 1, generator=generator)
    data = nw.data.from_array(0.01 * (pitch * torch.arange(128.0) + phase).sin(), layout="nct")
    found = []
    for objective in (None, MultiResolutionSTFT(3.0, (16, 32, 64))):
        torch.manual_seed(0)
        network = nw.Conv(hidden=16, residual_hidden=8, downsamplings=4)
        one = nw.Autoencoder(data.shape, nw.Identity(2), network=network, objective=objective)
        rate = nw.Optimization(learning_rate=5e-3)
        found.append(nw.fit(one, data, epochs=8, batch_size=32, optimization=rate, show=False).test)
    assert found[1]["lsd"] < found[0]["lsd"]


@pytest.mark.parametrize(
    "arguments", [{"weight": -1.0}, {"windows": ()}, {"windows": (2,)}, {"floor": 0.0}]
)
def test_what_is_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match="MultiResolutionSTFT"):
        MultiResolutionSTFT(**arguments)


def test_images_are_refused():
    one = nw.Autoencoder.for_images((1, 8, 8), nw.Identity(2), objective=MultiResolutionSTFT())
    with pytest.raises(TypeError, match=r"\[channels, t\]"):
        one.loss(torch.rand(2, 1, 8, 8))
