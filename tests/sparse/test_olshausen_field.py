"""Sparse codes of whitened natural patches have Gabor-like atoms (Olshausen and Field 1996)."""

import pytest
import torch
from sklearn.decomposition import MiniBatchDictionaryLearning

from narrows.data.loaders import patches
from narrows.metrics import gabor_fit
from narrows.sparse import Online, coordinate_descent, learn_dictionary
from narrows.sparse.dictionary import draw_atoms


def _patches(side, n):
    x = patches.load(size=side, n=n).train.images.float()
    return x - x.mean(1, keepdim=True)


def _learn(signals, size, alpha, epochs):
    def encode(x, atoms):
        return coordinate_descent(x, atoms, penalty=alpha, tolerance=1e-3)

    return learn_dictionary(signals, size, encode=encode, rule=Online(0.95), epochs=epochs)


def _gabor_share(atoms, side):
    return (gabor_fit(atoms, side).r2 > 0.7).double().mean().item()


def test_atoms_of_small_natural_patches_become_gabor_like():
    signals = _patches(8, 6_000)
    learned = _learn(signals, 32, alpha=2.0, epochs=4)
    start = draw_atoms(signals, 32, torch.Generator().manual_seed(0))
    assert _gabor_share(learned, 8) > 0.8
    assert _gabor_share(start, 8) < 0.5


def test_atoms_of_noise_do_not():
    """The same learner on pixels without structure: the measure does not see waves anywhere."""
    noise = torch.randn(2_000, 64, generator=torch.Generator().manual_seed(0))
    assert _gabor_share(_learn(noise, 16, alpha=2.0, epochs=2), 8) < 0.2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_atoms_of_16_x_16_patches_are_as_gabor_like_as_scikit_learns():
    signals = _patches(16, 30_000)
    ours = _learn(signals, 192, alpha=2.0, epochs=3)
    start = draw_atoms(signals, 192, torch.Generator().manual_seed(0))
    learner = MiniBatchDictionaryLearning(
        192, alpha=2.0, batch_size=256, max_iter=3, fit_algorithm="cd", tol=0,
        dict_init=start.numpy(), max_no_improvement=None, random_state=0,
    ).fit(signals.numpy())  # fmt: skip
    theirs = torch.from_numpy(learner.components_)
    share = _gabor_share(ours, 16)
    assert share > 0.85
    assert share >= _gabor_share(theirs, 16) - 0.05
    # Of all orientations: no quarter of the half circle is empty.
    fit = gabor_fit(ours, 16)
    oriented = fit.orientation[fit.r2 > 0.7]
    assert torch.histc(oriented, bins=4, min=0, max=torch.pi).min() > 0.05 * len(oriented)
    # Band-pass: the spectrum falls off towards frequency 0 and towards the finest.
    power = torch.fft.fft2(ours.view(-1, 16, 16), (64, 64)).abs().square()
    frequency = torch.fft.fftfreq(64)
    radius = torch.hypot(frequency[:, None], frequency[None])
    peak = radius.flatten()[power.flatten(1).argmax(1)]
    assert ((peak > 0.03) & (peak < 0.4)).double().mean() > 0.9
