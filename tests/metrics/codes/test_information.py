"""Information of codes whose information is known."""

import itertools
import math

import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch.distributions import Normal, kl_divergence

import narrows as nw
from narrows.bottlenecks import (
    OMP,
    Categorical,
    Identity,
    SparseDictionary,
    Split,
    Variational,
    VectorQuantizer,
)
from narrows.metrics.codes.information import CodeInformation, code_information
from narrows.metrics.information import class_information, entropies
from narrows.metrics.probe import decodable_information
from narrows.priors.base import NoRateError


class Pass(torch.nn.Module):
    """An encoder that hands its input on."""

    def forward(self, x):
        return x


def passing(bottleneck):
    """A model whose features are its input."""
    model = nw.Autoencoder.for_vectors(
        bottleneck.in_features,
        bottleneck,
        network=nw.networks.Mlp(()),
        likelihood=nw.likelihoods.Normal(1.0),
    )
    model.encoder = Pass()
    return model.eval()


def certain(n, sure=100.0):
    """Logits that give each of n examples a category of its own."""
    return sure * torch.eye(n)


class TestPerfect:
    def test_a_code_that_tells_n_examples_apart_has_log_n_nats(self):
        found = code_information(passing(Categorical(8)), certain(8))
        assert found.whole == pytest.approx(math.log(8))
        assert found.units == pytest.approx(math.log(8))
        assert found.prior_gap == pytest.approx(0, abs=1e-6)  # the uniform prior is the right one

    def test_a_code_that_is_the_class_has_all_of_its_entropy(self):
        labels = torch.arange(80) % 4
        found = code_information(passing(Categorical(4)), certain(4)[labels], labels=labels)
        assert found.classes == pytest.approx(math.log(4))
        assert found.floor < 0.2

    def test_a_vector_quantizer_says_what_its_codes_counts_say(self):
        """Sixteen codes, one site; each code for as many examples as its number."""
        model = passing(VectorQuantizer(16, 2))
        model.bottleneck.codebook.vectors.copy_(torch.arange(32.0).reshape(16, 2))
        x = model.bottleneck.codebook.vectors.repeat_interleave(torch.arange(16), 0)
        share = torch.arange(1, 16) / 120
        expected = float(-(share * share.log()).sum())
        found = code_information(model, x)
        assert found.units == pytest.approx(expected, abs=1e-6)
        assert found.whole == pytest.approx(expected, abs=1e-6)
        assert found.rate == pytest.approx(math.log(16), abs=1e-5)  # uniform until fitted


class TestUseless:
    @pytest.mark.parametrize("bottleneck", [Variational(3), Categorical(6)])
    def test_a_posterior_that_ignores_the_example_says_nothing(self, bottleneck):
        labels = torch.arange(50) % 5
        found = code_information(passing(bottleneck), torch.zeros(50, 6), labels=labels)
        assert found.whole == pytest.approx(0, abs=1e-6)
        assert found.units == pytest.approx(0, abs=1e-6)
        assert found.classes == pytest.approx(0, abs=1e-6)
        assert found.floor == pytest.approx(0, abs=1e-6)

    def test_one_index_for_all_says_nothing_and_may_still_cost(self):
        found = code_information(passing(VectorQuantizer(16, 2)), torch.ones(50, 2))
        assert found.whole == found.units == 0
        assert found.prior_gap == pytest.approx(math.log(16), abs=1e-5)


class TestMisleading:
    def test_a_name_for_every_example_is_no_knowledge_of_its_class(self):
        """By counts it seems to say all of the class; so it does with shuffled classes."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(4, (64,), generator=generator)
        logits = torch.cat([certain(64), torch.zeros(64, 64)], 1)  # and one number that is none
        found = code_information(passing(Categorical(64, channels=2)), logits, labels=labels)
        entropy = entropies(labels[:, None]).item()
        assert found.classes is not None
        assert found.classes.tolist() == pytest.approx([entropy, 0])
        assert found.floor == pytest.approx(entropy)

    def test_a_linear_reader_is_not_taken_in_by_it(self):
        generator = torch.Generator().manual_seed(0)
        codes = torch.randn(1000, 100, generator=generator)
        labels = torch.randint(4, (1000,), generator=generator)
        parts = (codes[:500], labels[:500]), (codes[500:], labels[500:])
        assert decodable_information(*parts) == pytest.approx(0, abs=0.03)
        assert decodable_information(*parts, shuffle=True) == pytest.approx(0, abs=0.03)

    def test_saying_the_same_twice_counts_for_the_units_and_not_for_the_whole(self):
        labels = torch.arange(60) % 6
        once = certain(6)[labels]
        one, two = (
            code_information(passing(Categorical(6, channels=v)), once.repeat(1, v)) for v in (1, 2)
        )
        assert two.whole == pytest.approx(one.whole)
        assert float(two.units.sum()) == pytest.approx(2 * float(one.units.sum()))

    def test_duplicating_the_data_changes_nothing(self):
        torch.manual_seed(0)
        model, x = passing(Variational(2)), torch.randn(40, 4)
        one, two = (code_information(model, data, draws=200) for data in (x, torch.cat([x, x])))
        assert one.whole == pytest.approx(two.whole, abs=0.05)
        assert one.units.tolist() == pytest.approx(two.units.tolist(), abs=0.05)


def test_random_indices_have_the_information_of_enumeration():
    torch.manual_seed(0)
    logits, labels = 2 * torch.randn(6, 10), torch.tensor([0, 0, 1, 1, 1, 2])
    model = passing(Categorical(5, channels=2))
    first, second = logits.double().unflatten(1, (2, 5)).softmax(2).unbind(1)
    joint = (first[:, :, None] * second[:, None]).flatten(1)
    found = code_information(model, logits, labels=labels, draws=2000)
    of_class = torch.stack([first[labels == c].mean(0) for c in labels])
    assert found.whole == pytest.approx(_information(joint), abs=0.02)
    assert found.units.tolist() == pytest.approx(
        [_information(first), _information(second)], abs=0.02
    )
    assert found.classes is not None
    assert float(found.classes[0]) == pytest.approx(_information(of_class), abs=0.02)


def _information(rows):
    """Mean KL of each row to the mean row."""
    return float((rows * (rows / rows.mean(0)).log()).sum(1).mean())


def test_a_gaussian_channel_has_the_information_shannon_gave_it_and_the_prior_the_rest():
    """Locations N(0, s^2), unit noise: I = log(1 + s^2) / 2, gap = KL(N(0, 1 + s^2) || p)."""
    torch.manual_seed(0)
    x = torch.zeros(3000, 2)
    x[:, 0] = 3 * torch.randn(3000)
    power = float(x[:, 0].var())
    found = code_information(passing(Variational(1)), x, draws=2, seed=7)
    assert found.whole == pytest.approx(0.5 * math.log(1 + power), abs=0.04)
    assert float(found.units) == pytest.approx(found.whole, abs=1e-6)
    mixture = Normal(0.0, math.sqrt(1 + power))
    assert found.prior_gap == pytest.approx(
        float(kl_divergence(mixture, Normal(0.0, 1.0))), abs=0.04
    )


def test_a_whole_code_is_never_worth_more_than_log_n_while_its_units_may_be():
    torch.manual_seed(0)
    found = code_information(passing(Variational(40)), 3 * torch.randn(30, 80))
    assert found.whole == pytest.approx(math.log(30), abs=1e-3)
    assert float(found.units.sum()) > 5 * math.log(30)
    assert float(found.units.max()) <= math.log(30)


def test_chunks_change_nothing():
    torch.manual_seed(0)
    model, x, labels = passing(Variational(2)), torch.randn(30, 4), torch.arange(30) % 3
    one, two = (code_information(model, x, labels=labels, chunk=chunk) for chunk in (1, 2**20))
    assert one.whole == pytest.approx(two.whole)
    assert one.units.tolist() == pytest.approx(two.units.tolist())
    assert one.classes.tolist() == pytest.approx(two.classes.tolist())
    assert one.floor == pytest.approx(two.floor)


def test_a_rounded_number_has_the_entropy_of_its_grid():
    torch.manual_seed(0)
    model = passing(Identity(1))
    x = torch.arange(8.0).repeat(25)[:, None]
    model.prior.fit([model.latent(x)])
    found = code_information(model, x)
    assert found.units == pytest.approx(math.log(8))
    assert found.prior_gap == pytest.approx(0, abs=0.01)


def test_an_atom_is_a_unit_and_silence_one_of_its_values():
    """Orthonormal atoms, exactly one active: 3 of 4 atoms, each in a third of the examples."""
    model = passing(SparseDictionary(4, 4, coder=OMP(1)))
    model.bottleneck.dictionary.data.copy_(torch.eye(4))
    x = 2 * torch.eye(4)[torch.arange(90) % 3]
    model.prior.fit([model.latent(x)])
    found = code_information(model, x)
    third = -(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3
    assert sorted(found.units.tolist())[-3:] == pytest.approx([third] * 3)
    assert found.whole == pytest.approx(math.log(3))


def test_a_split_code_has_the_units_of_its_parts():
    torch.manual_seed(0)
    model = passing(Split([VectorQuantizer(4, 2), Variational(1)]))
    x = torch.cat([torch.randn(40, 2), torch.zeros(40, 2)], 1)
    found = code_information(model, x)
    alone = code_information(passing(model.bottleneck.parts[0]), x[:, :2])
    assert found.units.tolist() == pytest.approx([float(alone.units), 0], abs=1e-6)
    assert found.whole == pytest.approx(alone.whole, abs=1e-6)


def test_counts_give_what_scikit_learn_gives():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randint(5, (200, 3), generator=generator)
    classes = (columns[:, 0] + torch.randint(2, (200,), generator=generator)) % 4
    expected = [mutual_info_score(column, classes) for column in columns.T]
    assert class_information(columns, classes).tolist() == pytest.approx(expected, abs=1e-12)


def test_tables_in_pieces_are_the_tables(monkeypatch):
    columns = torch.tensor(list(itertools.product(range(3), repeat=3)))
    classes = columns.sum(1)
    whole = class_information(columns, classes), entropies(columns)
    monkeypatch.setattr("narrows.metrics.information._CELLS", 1)
    assert torch.equal(class_information(columns, classes), whole[0])
    assert torch.equal(entropies(columns), whole[1])


class TestDecodable:
    def test_two_clusters_have_a_bit_between_them(self):
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(400) % 2
        codes = 10 * labels[:, None] + torch.randn(400, 3, generator=generator)
        parts = (codes[:200], labels[:200]), (codes[200:], labels[200:])
        assert decodable_information(*parts) == pytest.approx(math.log(2), abs=0.02)
        assert decodable_information(*parts, shuffle=True) == pytest.approx(0, abs=0.02)

    def test_it_stays_below_the_information_that_there_is(self):
        """Two unit normals at +-1: I by quadrature; the best reader is linear."""
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(20_000) % 2
        codes = (2.0 * labels - 1 + torch.randn(20_000, generator=generator))[:, None]
        parts = (codes[:10_000], labels[:10_000]), (codes[10_000:], labels[10_000:])
        z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
        density = Normal(1.0, 1.0).log_prob(z).exp(), Normal(-1.0, 1.0).log_prob(z).exp()
        mixture = (density[0] + density[1]) / 2
        exact = float(torch.trapezoid(density[0] * (density[0] / mixture).log(), z))
        # The standard error over 10,000 test examples is 0.005.
        assert decodable_information(*parts) == pytest.approx(exact, abs=0.015)

    def test_a_class_that_training_lacks_is_refused(self):
        codes, labels = torch.randn(4, 2), torch.tensor([0, 1, 2, 2])
        with pytest.raises(ValueError, match=r"\[2\] are not among"):
            decodable_information((codes[:2], labels[:2]), (codes[2:], labels[2:]))


def test_what_has_no_information_to_measure_is_refused():
    with pytest.raises(NoRateError):
        code_information(passing(Identity(3)), torch.randn(4, 3))
    with pytest.raises(ValueError, match="at least 2 examples"):
        code_information(passing(Variational(2)), torch.randn(1, 4))
    with pytest.raises(ValueError, match="1 draw"):
        code_information(passing(Variational(2)), torch.randn(4, 4), draws=0)


def test_the_gap_is_what_the_rate_has_over_the_units():
    assert CodeInformation(1.0, torch.tensor([0.5, 0.75]), rate=2.0).prior_gap == 0.75
