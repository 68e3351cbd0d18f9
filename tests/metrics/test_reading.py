"""What readers find in codes and reconstructions whose content is known."""

import numpy as np
import pytest
import torch

from narrows.functional.corruption import corrupt
from narrows.metrics.classifier import accuracy, extract, retention, train_classifier
from narrows.metrics.distortion import denoising
from narrows.metrics.probe import baselines, knn_probe, linear_probe


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    images = torch.from_numpy(data.images[order] / 16).float()[:, None]
    labels = torch.from_numpy(data.target[order]).long()
    return (images[:1000], labels[:1000]), (images[1000:1400], labels[1000:1400])


@pytest.fixture(scope="module")
def classifier(digits):
    return train_classifier(*digits[0], epochs=8)


def test_the_classifier_reads_real_digits(classifier, digits):
    assert accuracy(classifier, digits[1][0], labels=digits[1][1]) > 0.95
    features = extract(classifier, digits[1][0])
    assert features.shape == (400, 64)
    assert features.dtype == torch.float64


def test_the_classifier_repeats_with_its_seed_and_leaves_random_numbers_alone(digits):
    small = digits[0][0][:200], digits[0][1][:200]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train_classifier(*small, epochs=1, seed=1)
    assert torch.equal(torch.rand(3), expected)
    again, other = (train_classifier(*small, epochs=1, seed=seed) for seed in (1, 2))
    images = digits[1][0][:5]
    assert torch.equal(first(images), again(images))
    assert not torch.equal(first(images), other(images))


@pytest.mark.parametrize("shape", [(3, 9, 13), (20,)])
def test_the_classifier_takes_any_size_and_vectors(shape):
    images = torch.rand(20, *shape)
    model = train_classifier(images, torch.arange(20) % 4, epochs=1)
    assert model(images).shape == (20, 4)


def test_probes_read_a_perfect_code_and_not_a_useless_one():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    perfect = torch.nn.functional.one_hot(labels).float()
    useless = torch.randn(400, 4, generator=generator)
    train, test = slice(0, 300), slice(300, 400)
    for probe in (linear_probe, knn_probe):
        assert probe((perfect[train], labels[train]), (perfect[test], labels[test])) == 1
        chance = probe((useless[train], labels[train]), (useless[test], labels[test]))
        assert chance == pytest.approx(0.25, abs=0.13)


def test_loud_noise_misleads_neighbours_and_a_twist_the_linear_reader():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 2
    train, test = slice(0, 400), slice(400, 600)
    informative = labels.float()[:, None] + 0.1 * torch.randn(600, 1, generator=generator)
    loud = torch.cat([informative, 1000 * torch.randn(600, 9, generator=generator)], 1)
    assert linear_probe((loud[train], labels[train]), (loud[test], labels[test])) > 0.95
    quiet = 1e-3 * informative  # the penalty does not depend on the code's unit
    assert linear_probe((quiet[train], labels[train]), (quiet[test], labels[test])) > 0.95
    assert knn_probe((loud[train], labels[train]), (loud[test], labels[test])) < 0.65
    first = torch.randint(0, 2, (600,), generator=generator)
    twisted = torch.stack([first, first ^ labels], 1) * 2.0 - 1
    twisted = twisted + 0.1 * torch.randn(600, 2, generator=generator)
    assert linear_probe((twisted[train], labels[train]), (twisted[test], labels[test])) < 0.65
    assert knn_probe((twisted[train], labels[train]), (twisted[test], labels[test])) > 0.95


def test_baselines_order_as_they_should_on_digits(digits):
    (images, labels), (new, answers) = digits
    found = baselines(images, new, d=8)
    assert {name: tuple(codes[1].shape) for name, codes in found.items()} == {
        "raw": (400, 64),
        "pca": (400, 8),
        "random": (400, 8),
    }
    scores = {
        name: linear_probe((train, labels), (test, answers))
        for name, (train, test) in found.items()
    }
    assert scores["raw"] > scores["pca"] > scores["random"] > 0.15


def test_pca_baseline_never_has_more_components_than_there_are():
    found = baselines(torch.rand(5, 6), torch.rand(3, 6), d=20)
    assert found["pca"][1].shape == (3, 5)


def test_probes_refuse_what_does_not_fit():
    codes, labels = torch.rand(10, 3), torch.arange(10) % 2
    with pytest.raises(ValueError, match="a label for each"):
        linear_probe((codes, labels[:5]), (codes, labels))
    with pytest.raises(ValueError, match="expected test codes of shape"):
        knn_probe((codes, labels), (codes[:, :2], labels))
    with pytest.raises(ValueError, match="one label for each"):
        train_classifier(codes, labels[:5])


def test_retention_of_a_perfect_a_useless_and_a_negative_code(digits):
    perfect = retention(lambda x: x, digits[0], test=digits[1], epochs=4)
    assert len(set(perfect.values())) == 1
    assert perfect["real_on_real"] > 0.9
    useless = retention(torch.zeros_like, digits[0], test=digits[1], epochs=4)
    assert useless["real_on_real"] == perfect["real_on_real"]
    assert max(useless["real_on_reconstructed"], useless["reconstructed_on_real"]) < 0.25
    # Misleading: nothing is lost in the negative, but a reader of positives cannot read it,
    # and a probe trained on negatives learns them as well as the originals.
    negative = retention(lambda x: 1 - x, digits[0], test=digits[1], epochs=4)
    assert negative["real_on_reconstructed"] < 0.5
    copies = 1 - digits[0][0]
    again = train_classifier(copies, digits[0][1], epochs=4)
    assert accuracy(again, 1 - digits[1][0], labels=digits[1][1]) > 0.9


def test_denoising_by_an_oracle_by_nothing_and_by_the_mean_image(digits):
    clean = digits[1][0]
    variance = (clean - clean.mean(0)).square().mean()
    rows = denoising(lambda x: x, clean)
    assert [row["weight"] for row in rows] == [0.25, 0.5, 0.75]
    assert all(row["denoised"] == row["noisy"] for row in rows)
    psnrs = [row["noisy"] for row in rows]
    assert psnrs == sorted(psnrs, reverse=True)
    # Misleading: answering the mean image gains over heavy noise without looking.
    blind = denoising(lambda x: clean.mean(0).expand_as(x), clean)
    assert all(row["denoised"] == pytest.approx(row["mean_image"], abs=1e-4) for row in blind)
    assert blind[2]["denoised"] > blind[2]["noisy"]
    assert blind[0]["mean_image"] == pytest.approx(-10 * variance.log10().item(), abs=1e-4)


def test_noise_is_clipped_and_the_same_for_every_model(digits):
    clean = digits[1][0][:50]
    noisy = corrupt(clean, 0.5, generator=torch.Generator().manual_seed(1))
    assert 0 <= noisy.min() < noisy.max() <= 1
    assert torch.equal(noisy, corrupt(clean, 0.5, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(corrupt(clean, 0.0), clean)
    first, again = (denoising(lambda x: x.sqrt(), clean, seed=3) for _ in range(2))
    assert first == again
    with pytest.raises(ValueError, match="at least 0"):
        corrupt(clean, -1)
