"""Facts that hold for every likelihood."""

import pytest
import torch

from narrows import likelihoods
from narrows.recorded import build, spec

ALL = [
    likelihoods.Normal(0.2),
    likelihoods.Normal("learned"),
    likelihoods.Normal("optimal"),
    likelihoods.Bernoulli(),
    likelihoods.Bernoulli(binarize=True),
    likelihoods.DiscretizedLogisticMixture(components=3),
    likelihoods.Categorical256(),
]
SHAPES = [(5,), (3,), (1, 4, 5), (2, 4, 5), (3, 4, 5)]


def ids(likelihood):
    return f"{type(likelihood).__name__}-{'-'.join(map(str, likelihood._arguments.values()))}"


def output_for(likelihood, shape, batch=4, scale=1.0):
    return scale * torch.randn(batch, likelihood.channels(shape[0]), *shape[1:])


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_of_images_and_vectors(likelihood, shape):
    torch.manual_seed(0)
    output = output_for(likelihood, shape)
    assert likelihood.log_prob(torch.rand(4, *shape), output).shape == (4,)
    assert likelihood.mean(output).shape == (4, *shape)
    assert likelihood.sample(output).shape == (4, *shape)


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_prob_adds_over_independent_examples_and_pixels(likelihood, shape):
    torch.manual_seed(0)
    likelihood.eval()
    x, output = torch.rand(2, *shape), output_for(likelihood, shape, 2)
    both = likelihood.log_prob(x, output)
    torch.testing.assert_close(both[:1], likelihood.log_prob(x[:1], output[:1]))
    if len(shape) == 3:
        parts = [
            likelihood.log_prob(x[..., i : i + 1, :], output[..., i : i + 1, :])
            for i in range(shape[1])
        ]
        torch.testing.assert_close(both, torch.stack(parts).sum(0))
    likelihood.train()


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
@pytest.mark.parametrize("shape", [(4,), (3,), (3, 2, 2)], ids=str)
def test_the_average_of_samples_is_the_mean(likelihood, shape):
    torch.manual_seed(0)
    likelihood.eval()
    output = output_for(likelihood, shape, 1, scale=0.3)
    if isinstance(likelihood, likelihoods.DiscretizedLogisticMixture):
        output = output.unflatten(1, (3, -1))
        scales = slice(4, 7) if shape[0] == 3 else slice(2 * shape[0], None)
        output[:, :, scales] -= 2
        output = output.flatten(1, 2)
    draws = likelihood.sample(
        output.expand(20000, *output.shape[1:]), generator=torch.Generator().manual_seed(1)
    )
    error = draws.std(0) / 20000**0.5
    # Colours: clipping's effect on the spread of earlier colours is neglected by the mean.
    slack = 0.02 if shape[0] == 3 and likelihood.discrete else 0.5 / 255
    difference = (draws.mean(0) - likelihood.mean(output)[0]).abs()
    assert bool((difference <= 5 * error + slack).all())
    likelihood.train()


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_samples_repeat_with_the_generator(likelihood):
    torch.manual_seed(0)
    output = output_for(likelihood, (3, 4, 4))
    first, again, other = (
        likelihood.sample(output, generator=torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_values_and_gradients_are_finite_at_extremes(likelihood, shape, size):
    torch.manual_seed(0)
    for x in (torch.zeros(4, *shape), torch.ones(4, *shape), torch.rand(4, *shape)):
        for sign in (-1, 1):
            channels = likelihood.channels(shape[0])
            output = torch.full((4, channels, *shape[1:]), sign * size, requires_grad=True)
            value = likelihood.log_prob(x, output).sum()
            value.backward()
            assert bool(value.isfinite())
            assert output.grad is not None
            assert bool(output.grad.isfinite().all())
            assert bool(likelihood.mean(output).isfinite().all())
            assert bool(likelihood.sample(output).isfinite().all())


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_gradient_equals_finite_differences(likelihood):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 1, 2, dtype=torch.float64)
    if isinstance(likelihood, likelihoods.Normal):
        likelihood = build(spec(likelihood)).double()
    output = output_for(likelihood, (3, 1, 2), 2).double().requires_grad_()
    torch.autograd.gradcheck(lambda o: likelihood.log_prob(x, o), output)


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_half_precision_output_is_computed_in_float32(likelihood):
    torch.manual_seed(0)
    x = torch.rand(4, 3, 4, 4)
    output = output_for(likelihood, (3, 4, 4)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = likelihood.log_prob(x, output)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, likelihood.log_prob(x, output.float()))


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_forward_changes_no_state_and_an_empty_batch_is_fine(likelihood):
    before = {name: value.clone() for name, value in likelihood.state_dict().items()}
    likelihood.log_prob(torch.rand(4, 3, 4, 4), output_for(likelihood, (3, 4, 4)))
    empty = torch.rand(0, 3, 4, 4), output_for(likelihood, (3, 4, 4), 0)
    assert likelihood.log_prob(*empty).shape == (0,)
    likelihood.update(*empty)
    for name, value in likelihood.state_dict().items():
        assert torch.equal(before[name], value)


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_nothing_broadcasts(likelihood):
    output = output_for(likelihood, (1, 4, 4))
    with pytest.raises(ValueError, match="expected decoder output of shape"):
        likelihood.log_prob(torch.rand(4, 3, 4, 4), output)
    with pytest.raises(ValueError, match="expected decoder output of shape"):
        likelihood.log_prob(torch.rand(1, 1, 4, 4), output)
    with pytest.raises(ValueError, match="divide 8-bit values by 255"):
        likelihood.log_prob(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), output)


@pytest.mark.parametrize("likelihood", ALL[3:], ids=ids)
@pytest.mark.parametrize("value", [-0.1, 1.1, 200.0, float("nan")])
def test_data_outside_the_unit_interval_are_refused(likelihood, value):
    x = torch.rand(4, 3, 4, 4)
    x[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"expected data in \[0, 1\]"):
        likelihood.log_prob(x, output_for(likelihood, (3, 4, 4)))


@pytest.mark.parametrize("likelihood", ALL, ids=ids)
def test_a_description_rebuilds_it(likelihood):
    again = build(spec(likelihood))
    assert type(again) is type(likelihood)
    again.load_state_dict(likelihood.state_dict())
    x, output = torch.rand(4, 3, 2, 2), output_for(likelihood, (3, 2, 2))
    assert torch.equal(again.log_prob(x, output), likelihood.log_prob(x, output))
