"""The faults that the classes name are there, and are what they are said to be."""

import pytest
import torch

from narrows.bottlenecks import OMP, CodebookLearning, SparseDictionary, VectorQuantizer
from narrows.networks import Conv
from narrows.recorded import build, spec
from narrows.sparse import L1, coordinate_descent, differentiate
from narrows.testing import ContractError, check_bottleneck
from narrows.training import Constant
from reproductions.in_place import InPlace
from reproductions.sparse_vae_report.as_written import AthaydeSparse, StepsTwice
from reproductions.sparse_vae_report.as_written.backtracking import backtracking_fista
from reproductions.sparse_vae_report.as_written.sparse_vae import misindexed_betas
from reproductions.vq_notebook.as_written import (
    FarthestCode,
    FarthestCodeEma,
    NotebookDictionaryAsWritten,
)


def _randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# The sparse VAE report.


def test_nearly_all_of_the_reports_atoms_are_active_and_scale_is_the_cause():
    signals, dictionary = _randn(8, 2048), _randn(64, 2048, seed=1)
    as_written = (backtracking_fista(signals, dictionary, 1.0) != 0).sum(1)
    exact = coordinate_descent(signals, dictionary, penalty=1.0, tolerance=1e-6).l0
    relative = coordinate_descent(signals, dictionary, penalty=L1(0.7, relative=True)).l0
    assert as_written.float().mean() > 0.95 * 64
    assert exact.float().mean() > 0.95 * 64  # more iterations do not help
    assert relative.float().mean() < 0.2 * 64  # a larger lambda does


def test_ten_steps_with_backtracking_come_near_the_lasso_optimum_from_above():
    signals, dictionary = _randn(8, 200, seed=2), _randn(40, 200, seed=3)
    codes = backtracking_fista(signals, dictionary, 1.0)
    reached = (signals - codes @ dictionary).square().sum(1) / 2 + codes.abs().sum(1)
    best = coordinate_descent(signals, dictionary, penalty=1.0, tolerance=1e-6).objective
    assert (reached >= best * (1 - 1e-5)).all()
    assert (reached <= best * 1.02).all()


def test_the_reports_straight_through_gradient_is_d_t_d_g():
    torch.manual_seed(0)
    bottleneck = AthaydeSparse(size=16, shape=(4, 4, 64))
    features = _randn(3, 4, 4, 64).requires_grad_()
    cotangent = _randn(3, 4, 4, 64, seed=1)
    (got,) = torch.autograd.grad(bottleneck(features).z, features, cotangent)
    # Undo the scrambling to see what reaches the lasso.
    flat = cotangent.movedim(-1, 1).flatten(1)
    d = bottleneck.dictionary.detach()
    torch.testing.assert_close(got.flatten(1), flat @ d.T @ d, rtol=1e-4, atol=1e-2)
    within = torch.linalg.vector_norm(flat @ torch.linalg.pinv(d) @ d)
    assert got.norm() / within > 500  # norm 32 of an atom, squared


def test_the_reports_gradient_to_the_dictionary_is_not_the_gradient_and_ours_is():
    n, size, dim = 4, 12, 6
    signals = _randn(n, dim, dtype=torch.float64)
    atoms = _randn(size, dim, seed=1, dtype=torch.float64)
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    target = _randn(n, size, seed=2, dtype=torch.float64)

    def solve(dictionary):
        return coordinate_descent(signals, dictionary, penalty=0.1, tolerance=1e-13)

    codes = solve(atoms).codes
    slope = torch.zeros_like(atoms)
    for i in range(size):
        for j in range(dim):
            step = torch.zeros_like(atoms)
            step[i, j] = 1e-6
            ends = [(solve(atoms + sign * step).codes * target).sum() for sign in (1, -1)]
            slope[i, j] = (ends[0] - ends[1]) / 2e-6
    solution = solve(atoms)
    leaf = atoms.clone().requires_grad_()
    values = differentiate(signals, leaf, atoms=solution.atoms, values=solution.values)
    chosen = target.gather(1, solution.atoms)
    (ours,) = torch.autograd.grad((values * chosen).sum(), leaf)
    torch.testing.assert_close(ours, slope, rtol=1e-4, atol=1e-5)

    betas = misindexed_betas(atoms, codes, target)
    residual = signals - codes @ atoms
    written = betas.T @ residual - codes.T @ (betas @ atoms)
    likeness = torch.cosine_similarity(written.flatten(), slope.flatten(), dim=0)
    assert likeness < 0.7


def test_the_report_reads_the_sum_of_its_atoms_scrambled():
    bottleneck = AthaydeSparse(size=24, shape=(2, 3, 4), weight=0.0)
    with torch.no_grad():
        bottleneck.dictionary.copy_(torch.eye(24) * 128)
    features = torch.arange(24.0).view(1, 2, 3, 4)
    latent = bottleneck(features)
    total = torch.zeros(1, 24).scatter(1, latent.code[0], latent.code[1]) * 128
    torch.testing.assert_close(total.view_as(features), features, atol=1e-3, rtol=1e-3)
    assert (latent.z - features).square().sum() > 0.3 * features.square().sum()
    ordered = latent.z.movedim(-1, 1).reshape(1, 24)  # the same numbers, read channels first
    torch.testing.assert_close(ordered, total)
    torch.testing.assert_close(bottleneck.embed(latent.code), latent.z)
    summary = bottleneck.summary(latent.stats, 1)
    assert summary["feature_nmse"] < 1e-6
    assert summary["quantization_nmse"] > 0.3


def test_a_code_of_the_report_depends_on_its_company_and_ours_does_not():
    torch.manual_seed(0)
    bottleneck = AthaydeSparse(size=8, shape=(2, 2, 4)).eval()
    with torch.no_grad():
        bottleneck.dictionary.mul_(30)  # so that the first rate is too long, as at full size
    features = _randn(6, 2, 2, 4)
    features[1:] *= 30.0
    alone, among = bottleneck(features[:1]).code[1], bottleneck(features).code[1][:1]
    assert int((alone != 0).sum()) != int((among != 0).sum())
    assert (alone - among).abs().max() > 0.01 * alone.abs().max()
    repaired = SparseDictionary(8, 4, coder=OMP(3), sites=(2, 2)).eval()
    assert torch.equal(repaired(features[:1]).code[0], repaired(features).code[0][:1])


def test_the_report_cannot_take_a_batch_larger_than_its_dictionary():
    bottleneck = AthaydeSparse(size=4, shape=(2, 2, 4))
    latent = bottleneck(_randn(5, 2, 2, 4).requires_grad_())
    with pytest.raises(ValueError, match="at most 4, got 5"):
        latent.z.sum().backward()


def test_stepping_twice_moves_twice_as_far():
    weight = torch.nn.Linear(3, 1, bias=False)
    before = weight.weight.detach().clone()
    optimizer = StepsTwice(learning_rate=0.1, schedule=Constant()).optimizer(weight)
    weight(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    # Adam's first steps along one gradient are the rate itself.
    torch.testing.assert_close(weight.weight.detach(), before - 0.2)


# The notebook.


def _notebook(**changes):
    torch.manual_seed(0)
    return NotebookDictionaryAsWritten(**{"size": 16, "dim": 4, "k": 3, **changes})


def test_the_notebooks_decoder_is_given_the_features_besides_the_code():
    bottleneck = _notebook()
    features = _randn(5, 2, 2, 4)
    latent = bottleneck(features)
    q = bottleneck.embed(latent.code)
    torch.testing.assert_close(latent.z, 2 * q - features)
    torch.testing.assert_close(2 * q - latent.z, features)  # read off exactly
    with pytest.raises(ContractError, match="decoder_sees_only_the_code"):
        check_bottleneck(bottleneck, export=False)


def test_no_gradient_of_the_notebooks_decoder_reaches_the_features_but_by_the_softmax():
    bottleneck = _notebook()
    features = _randn(5, 2, 2, 4).requires_grad_()
    (through,) = torch.autograd.grad(bottleneck(features).z.sum(), features)
    assert through.abs().max() > 0
    with torch.no_grad():
        bottleneck.logits.weight.zero_()
    (nothing,) = torch.autograd.grad(bottleneck(features).z.sum(), features)
    assert nothing.abs().max() == 0


def test_the_notebooks_sparsity_level_is_k_over_size_and_its_weights_do_not_sum_to_one():
    bottleneck = _notebook(size=512, k=100)
    latent = bottleneck(_randn(3, 2, 2, 4))
    assert bottleneck.summary(latent.stats, 3)["sparsity_level"] == 0.1953125
    assert latent.code[1].sum(-1).max() < 0.9


def test_the_notebook_scrambles_sites_and_channels():
    bottleneck = _notebook(size=4, k=1)
    with torch.no_grad():
        bottleneck.dictionary.copy_(torch.eye(4))
        bottleneck.logits.weight.zero_()
        bottleneck.logits.bias.zero_()
    features = torch.zeros(1, 2, 2, 4)
    features[..., 0] = 1.0  # every site is the first atom
    q = bottleneck.embed(bottleneck(features).code)
    expected = torch.zeros(1, 2, 2, 4)
    expected[0, 0, 0] = 0.25  # ... and the first site gets all of it
    torch.testing.assert_close(q, expected)


def test_the_notebooks_terms_are_its_two_distances():
    bottleneck = _notebook()
    features = _randn(5, 2, 2, 4)
    latent = bottleneck(features)
    distance = (bottleneck.embed(latent.code) - features).square().flatten(1).sum(1)
    torch.testing.assert_close(latent.terms["dictionary"], distance)
    torch.testing.assert_close(latent.terms["commitment"], distance)
    assert bottleneck.weights["commitment"] == bottleneck.weights["dictionary"] / 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: AthaydeSparse(size=0, shape=(2, 2, 4)),
        lambda: AthaydeSparse(size=4, shape=(2, 4)),
        lambda: AthaydeSparse(size=4, shape=(2, 2, 4), weight=-1.0),
        lambda: AthaydeSparse(size=4, shape=(2, 2, 4))(torch.zeros(1, 3, 2, 4)),
        lambda: _notebook(k=17),
        lambda: _notebook(sparsity=-1.0),
    ],
)
def test_impossible_ones_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.mark.parametrize("make", [_notebook, lambda: AthaydeSparse(size=4, shape=(2, 2, 4))])
def test_they_can_be_described_made_again_and_priced(make):
    bottleneck = make()
    twin = build(spec(bottleneck))
    twin.load_state_dict(bottleneck.state_dict())
    features = _randn(5, 2, 2, 4)
    latent = bottleneck(features)
    assert torch.equal(twin(features).z, latent.z)
    prior = bottleneck.default_prior((2, 2)).fit([latent])
    code = prior.quantize(latent.code)
    rate = prior.rate(type(latent)(z=latent.z, code=code, features=latent.features))
    assert (rate > 0).all()
    assert bottleneck.embed(prior.sample(3)).shape == (3, 2, 2, 4)


def test_the_notebooks_quantiser_takes_the_farthest_code_and_is_otherwise_ours():
    torch.manual_seed(0)
    farthest = FarthestCode(size=7, dim=3)
    ours = VectorQuantizer(
        7, 3, learning=CodebookLearning(method="gradient", init="uniform", revive_after=None)
    )
    ours.load_state_dict(farthest.state_dict())
    features = _randn(5, 2, 3)
    distances = (features[..., None, :] - farthest.codebook.codes).square().sum(-1)
    got, mended = farthest(features), ours(features)
    assert torch.equal(got.code, distances.argmax(-1))
    assert torch.equal(mended.code, distances.argmin(-1))
    assert (got.terms["commitment"] > mended.terms["commitment"]).all()
    torch.testing.assert_close(farthest.embed(got.code), got.z)
    with pytest.raises(ContractError, match="farthest"):
        check_bottleneck(farthest, export=False)


def test_a_rectifier_in_place_adds_to_what_it_left():
    network = Conv(hidden=6, residual_layers=1, residual_hidden=3)
    torch.manual_seed(0)
    plain = network.encoder((3, 8, 8), features=4)
    torch.manual_seed(0)
    overwriting = InPlace(network).encoder((3, 8, 8), features=4)
    x = _randn(2, 3, 8, 8)
    before = x.clone()
    *first, stack, last, move = plain
    h = torch.nn.Sequential(*first)(x).relu()
    by_hand = move(last((h + stack.blocks[0](h)).relu()))
    torch.testing.assert_close(overwriting(x), by_hand)
    assert (plain(x) - by_hand).abs().max() > 1e-3
    assert torch.equal(x, before)
    overwriting(x).sum().backward()


def test_the_notebooks_moving_averages_are_its_formulas_with_the_farthest_code():
    quantizer = FarthestCodeEma(3, 2, seed=1)
    codes = quantizer.codebook.codes.clone()
    sums, counts = quantizer.codebook.sums.clone(), torch.zeros(3)
    assert not torch.equal(codes, sums)
    for step in range(3):
        x = _randn(5, 2, seed=step)
        latent = quantizer(x)
        assert set(latent.terms) == {"commitment"}
        index = (x[:, None] - codes).square().sum(-1).argmax(1)
        assert torch.equal(latent.code, index)
        quantizer.update([latent])
        chosen = torch.nn.functional.one_hot(index, 3).float()
        counts = 0.99 * counts + 0.01 * chosen.sum(0)
        counts = (counts + 1e-5) / (counts.sum() + 3e-5) * counts.sum()
        sums = 0.99 * sums + 0.01 * chosen.T @ x
        codes = sums / counts[:, None]
        torch.testing.assert_close(quantizer.codebook.codes, codes)
