"""The normal likelihood and its optimal sigma."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from narrows.likelihoods import Normal


@pytest.mark.parametrize("sigma", [0.05, 1.0, 7.0])
def test_it_is_scipys_density(sigma):
    rng = np.random.default_rng(0)
    x, mean = rng.normal(size=(2, 3, 4))
    ours = Normal(sigma).double().log_prob(torch.from_numpy(x), torch.from_numpy(mean))
    expected = stats.norm(mean, sigma).logpdf(x).sum(1)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-7)  # sigma^2 is kept in float32


@pytest.mark.parametrize("sigma", [0.3, "learned", "optimal"])
def test_the_density_integrates_to_one(sigma):
    likelihood = Normal(sigma).double().eval()
    output = torch.tensor([[0.4]], dtype=torch.float64)
    total, _ = integrate.quad(
        lambda value: likelihood.log_prob(torch.full_like(output, value), output).exp().item(),
        -10,
        10,
    )
    assert total == pytest.approx(1, abs=1e-7)


def test_no_sigma_fits_a_batch_better_than_the_optimal_one():
    torch.manual_seed(0)
    x, output = torch.rand(2, 8, 1, 4, 4, dtype=torch.float64)
    best = Normal("optimal").log_prob(x, output).sum()
    root = (x - output).square().mean().sqrt().item()
    torch.testing.assert_close(best, Normal(root).double().log_prob(x, output).sum())
    for factor in (0.5, 0.95, 1.05, 2.0):
        assert Normal(factor * root).double().log_prob(x, output).sum() < best


def test_the_optimal_sigma_gives_the_gradient_of_the_log_of_the_squared_error():
    torch.manual_seed(0)
    x = torch.rand(8, 5, dtype=torch.float64)
    output = torch.rand(8, 5, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(-Normal("optimal").log_prob(x, output).sum(), output)
    objective = x.numel() / 2 * (x - output).square().mean().log()
    (expected,) = torch.autograd.grad(objective, output)
    torch.testing.assert_close(ours, expected)


def test_update_averages_the_first_steps_and_eval_uses_the_average():
    likelihood = Normal("optimal").double()
    x = torch.zeros(2, 3, dtype=torch.float64)
    for size in (1.0, 2.0, 3.0):
        likelihood.update(x, x + size)
    assert likelihood.variance().item() == pytest.approx((1 + 4 + 9) / 3)
    likelihood.eval()
    expected = stats.norm(0, (14 / 3) ** 0.5).logpdf(0) * 3
    assert likelihood.log_prob(x, x)[0].item() == pytest.approx(expected)


def test_the_running_value_forgets_exponentially():
    likelihood = Normal("optimal").double()
    x = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(200):
        likelihood.update(x, x + 1)
    likelihood.update(x, x + 3)
    assert likelihood.variance().item() == pytest.approx(1 + 0.01 * 8)


def test_a_perfect_reconstruction_stays_finite():
    likelihood = Normal("optimal")
    x = torch.rand(4, 3, requires_grad=True)
    value = likelihood.log_prob(x.detach(), x)
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_learned_sigma_descends_to_the_root_mean_square_error():
    torch.manual_seed(0)
    likelihood = Normal("learned")
    x = 0.3 * torch.randn(256, 4)
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (-likelihood.log_prob(x, torch.zeros_like(x)).mean()).backward()
        optimiser.step()
    assert likelihood.variance().sqrt().item() == pytest.approx(
        x.square().mean().sqrt().item(), rel=1e-3
    )


def test_samples_follow_the_density():
    draws = Normal(0.3).sample(
        torch.full((20000, 1), 0.7), generator=torch.Generator().manual_seed(0)
    )
    assert stats.kstest(draws[:, 0].numpy(), stats.norm(0.7, 0.3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan"), float("inf"), "best"])
def test_impossible_sigmas_are_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be a positive number"):
        Normal(sigma)


def _rank(rank, size, path, queue):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}", rank=rank, world_size=size
    )
    likelihood = Normal("optimal")
    x = torch.zeros(1 + 2 * rank, 1)  # ranks of 1 and 3 examples with errors 1 and 2
    likelihood.update(x, x + 1 + rank)
    queue.put((rank, likelihood.variance().item()))
    torch.distributed.barrier()  # neither hangs up while the other still listens
    torch.distributed.destroy_process_group()


def test_ranks_agree_on_the_mean_over_all_their_examples(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [
        context.Process(target=_rank, args=(rank, 2, tmp_path / "store", queue))
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    values = [queue.get(timeout=120)[1] for _ in workers]
    for worker in workers:
        worker.join()
    assert values == [pytest.approx((1 + 3 * 4) / 4)] * 2
