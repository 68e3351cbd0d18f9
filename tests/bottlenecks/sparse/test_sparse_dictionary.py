import copy

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import OMP, BatchTopK, Lasso, SparseDictionary, TopK
from narrows.codes import Atoms
from narrows.recorded import build, spec
from narrows.testing import check_bottleneck


def _features(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _trained(code=None, steps=5, **kwargs):
    torch.manual_seed(0)
    bottleneck = SparseDictionary(size=20, dim=6, coder=code or TopK(3), **kwargs)
    for step in range(steps):
        bottleneck.update([bottleneck(_features(8, 4, 4, 6, seed=step, scale=7.0) + 3)])
    return bottleneck


# Some of the codes below are not refitted on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*correlated atoms double-count:UserWarning")

CODES = [
    TopK(3),
    TopK(3, refit=False),
    TopK(3, refit=False, nonnegative=True),
    BatchTopK(3),
    BatchTopK(3, refit=False),
    OMP(3),
    Lasso(0.3),
    Lasso(0.8, relative=False),
    Lasso(0.3, refit=False),
    Lasso(0.3, refit=False, nonnegative=True),
]


@pytest.mark.parametrize("code", CODES, ids=lambda code: str(spec(code)))
@pytest.mark.parametrize("gradient", ["straight_through", "implicit"])
def test_every_code_keeps_the_contract(code, gradient):
    torch.manual_seed(1)  # not that of the features that the check draws
    check_bottleneck(SparseDictionary(20, 6, coder=code, gradient=gradient), export=False)


@pytest.mark.parametrize("code", [TopK(3), OMP(3), Lasso(0.3)], ids=lambda code: str(spec(code)))
def test_codes_can_be_exported(code):
    torch.manual_seed(1)  # not that of the features that the check draws
    check_bottleneck(SparseDictionary(20, 6, coder=code))


def test_one_code_an_image_keeps_the_contract():
    torch.manual_seed(1)
    bottleneck = SparseDictionary(20, 6, coder=OMP(3), sites=(2, 3))
    check_bottleneck(bottleneck, sites=(2, 3), export=False)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("gradient", ["straight_through", "implicit"])
def test_the_decoder_sees_nothing_but_the_code(code, gradient):
    bottleneck = _trained(code, gradient=gradient).eval()
    latent = bottleneck(_features(5, 3, 6))
    assert torch.equal(bottleneck.embed(latent.code), latent.z)


@pytest.mark.parametrize("code", CODES)
def test_a_stored_code_never_depends_on_the_batch(code):
    bottleneck = _trained(code).eval()
    features = _features(9, 2, 6)
    together = bottleneck(features).z
    alone = torch.cat([bottleneck(part[None]).z for part in features])
    torch.testing.assert_close(alone, together)


def test_straight_through_passes_the_decoders_gradient_unchanged():
    bottleneck = _trained()
    features = _features(4, 6).requires_grad_()
    upstream = _features(4, 6, seed=9)
    (gradient,) = torch.autograd.grad(bottleneck(features).z, features, upstream)
    assert torch.equal(gradient, upstream)


def test_the_implicit_gradient_of_a_refitted_code_is_a_projection_onto_its_atoms():
    bottleneck = _trained(TopK(3), gradient="implicit").double()
    features = _features(1, 6).double().requires_grad_()
    latent = bottleneck(features)
    jacobian = torch.autograd.functional.jacobian(lambda x: bottleneck(x).z, features)[0, :, 0]
    torch.testing.assert_close(jacobian @ jacobian, jacobian, atol=1e-9, rtol=0)
    assert jacobian.trace().item() == pytest.approx(3)
    chosen = bottleneck.atoms[latent.code[0][0]]
    torch.testing.assert_close(chosen @ jacobian, chosen, atol=1e-9, rtol=0)


@pytest.mark.parametrize("code", [TopK(2, refit=False), TopK(2), OMP(2)])
def test_implicit_gradients_match_finite_differences(code):
    bottleneck = _trained(code, gradient="implicit").double().eval()

    def z(features, dictionary):
        return torch.func.functional_call(bottleneck, {"dictionary": dictionary}, features).z

    features = _features(3, 6).double().requires_grad_()
    dictionary = bottleneck.dictionary.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(z, (features, dictionary))


def test_scaling_and_shifting_the_features_leaves_the_atoms_chosen():
    one, other = _trained(), _trained(steps=0)
    other.load_state_dict(one.state_dict())
    other.centre.mul_(100).add_(5)
    other.scale.mul_(100)
    features = _features(6, 6)
    assert torch.equal(one.eval()(features).code[0], other.eval()(100 * features + 5).code[0])


def test_update_learns_centre_and_scale_of_the_features():
    bottleneck = _trained(steps=3)
    torch.testing.assert_close(bottleneck.centre, torch.full((6,), 3.0), atol=1.5, rtol=0)
    assert bottleneck.scale.item() == pytest.approx(7, rel=0.1)


def test_atoms_keep_unit_norm_whatever_the_optimiser_does():
    bottleneck = _trained()
    optimiser = torch.optim.SGD(bottleneck.parameters(), lr=10.0)
    latent = bottleneck(_features(8, 6))
    latent.terms["dictionary"].sum().backward()
    optimiser.step()
    torch.testing.assert_close(bottleneck.atoms.norm(dim=1), torch.ones(20))
    bottleneck.update([latent])
    torch.testing.assert_close(bottleneck.dictionary.norm(dim=1), torch.ones(20))


def test_dead_atoms_are_revived_from_the_data():
    bottleneck = _trained()
    with torch.no_grad():
        bottleneck.dictionary[:15] = bottleneck.dictionary[15] + 1e-3 * _features(15, 6)
    before = bottleneck.eval()(_features(500, 6)).stats["residual_sum"]
    bottleneck.train()
    for step in range(60):
        bottleneck.update([bottleneck(_features(2000, 6, seed=step))])
    latent = bottleneck.eval()(_features(500, 6))
    summary = bottleneck.summary(latent.stats, 500)
    assert summary["dead_atoms"] == 0
    assert latent.stats["residual_sum"] < before


@pytest.mark.parametrize("refit", [True, False])
def test_batch_top_k_holds_its_mean_count_with_the_running_threshold(refit):
    bottleneck = _trained(BatchTopK(2, refit=refit), steps=0)
    for step in range(40):
        bottleneck.update([bottleneck(_features(500, 6, seed=step))])
    latent = bottleneck.eval()(_features(4000, 6, seed=99))
    counts = (latent.code[1] != 0).sum(-1)
    assert counts.float().mean().item() == pytest.approx(2, rel=0.05)
    assert counts.min() < 2 < counts.max()
    # What the threshold follows: the smallest correlation that was kept, refitted or not.
    signals = (latent.features - bottleneck.centre) / bottleneck.scale
    kept = (signals @ bottleneck.atoms.T).gather(1, latent.code[0]).abs()
    assert kept[latent.code[1] != 0].min() >= bottleneck.level * (1 - 1e-5)


def _rows(n, *, huge=0.0, seed=0):
    """Mixtures of two of 40 directions; a share of the rows 300 times larger."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(40, 20, generator=torch.Generator().manual_seed(1))
    rows = 0.05 * torch.randn(n, 20, generator=generator)
    for _ in range(2):
        chosen = torch.randint(40, (n,), generator=generator)
        rows += directions[chosen] * torch.randn(n, 1, generator=generator)
    rows[: round(huge * n)] *= 300
    return rows[torch.randperm(n, generator=generator)]


@pytest.mark.parametrize("steps", [1, 3, 10, 60])
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("huge", [0.0, 0.005])
def test_the_threshold_of_batch_top_k_follows_training_from_the_first_step(steps, k, huge):
    torch.manual_seed(0)
    bottleneck, rows = SparseDictionary(64, 20, coder=BatchTopK(k)), _rows(8000, huge=huge)
    optimizer = torch.optim.Adam(bottleneck.parameters(), 3e-3)
    for batch in rows.split(256)[:steps] if steps < 32 else rows.repeat(2, 1).split(256)[:steps]:
        latent = bottleneck(batch)
        optimizer.zero_grad()
        latent.terms["dictionary"].mean().backward()
        optimizer.step()
        bottleneck.update([latent])
    unseen = _rows(4000, huge=huge, seed=9)
    latent = bottleneck.eval()(unseen)
    count = (latent.code.values != 0).sum(1).float()
    usual = unseen.norm(dim=1) < 60
    assert count[usual].mean().item() == pytest.approx(k, rel=0.2)
    assert (huge > 0) == bool((~usual).any())


@pytest.mark.parametrize("huge", [0.0, 0.005])
@pytest.mark.parametrize("split", [False, True])
def test_a_short_fit_ends_with_k_atoms_in_use_on_its_training_examples(huge, split):
    """The running threshold is some 10 % off while the features grow with every step."""
    torch.manual_seed(0)
    bottleneck = SparseDictionary(64, 16, coder=BatchTopK(2))
    made = nw.bottlenecks.Split([nw.Identity(3), bottleneck]) if split else bottleneck
    model = nw.Autoencoder.for_vectors(20, made)
    data = nw.data.from_array(_rows(2000, huge=huge))
    run = nw.fit(model, data, epochs=1, show=False)
    for rows in (data.train.images, _rows(4000, huge=huge, seed=4)):
        with torch.no_grad():
            latent = run.model.latent(rows)
        counts = latent.stats["1.l0_sum" if split else "l0_sum"] / len(rows)
        assert counts.item() == pytest.approx(2, rel=0.03 if len(rows) < 2000 else 0.1)
    frozen = run.model.bottleneck.requires_grad_(False)
    level = bottleneck.level.clone()
    frozen.settle(latent for _ in range(2))
    assert torch.equal(bottleneck.level, level)


def test_advice_says_where_batch_top_k_keeps_another_number_than_was_asked_for():
    bottleneck = _trained(BatchTopK(2))
    summary = {"l0": 2.0, "atoms_used": 1.0, "dead_atoms": 0.0, "feature_nmse": 0.1}
    assert bottleneck.advice(summary) == []
    for l0 in (1.5, 2.8):
        (line,) = bottleneck.advice({**summary, "l0": l0})
        assert f"{l0:.2f} for BatchTopK(k=2)" in line


@pytest.mark.parametrize("started", [False, True])
def test_atoms_that_were_given_are_where_learning_begins(started, tmp_path):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_vectors(6, SparseDictionary(8, 6, coder=TopK(2)))
    bottleneck = model.bottleneck
    if started:
        for step in range(3):
            bottleneck.update([bottleneck(_features(64, 6, seed=step))])
    given = 10 * torch.randn(8, 6)
    bottleneck.set_atoms(given)
    model.save(tmp_path)
    resumed = nw.Autoencoder.load(tmp_path).train().bottleneck
    for learner in (bottleneck, resumed):
        learner.update([learner(_features(64, 6, seed=5, scale=3.0) + 7)])
        assert torch.allclose(learner.atoms, torch.nn.functional.normalize(given), atol=1e-6)
        assert learner.centre.mean() > (0.05 if started else 6)  # these start on the data
        assert bool((learner.idle >= 0).all())


@pytest.mark.parametrize("wrong", [torch.ones(8, 5), torch.zeros(8, 6), torch.ones(8, 6) / 0])
def test_atoms_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"shape \(8, 6\)"):
        SparseDictionary(8, 6, coder=TopK(2)).set_atoms(wrong)


@pytest.mark.parametrize("code", [TopK(8), BatchTopK(8)])
def test_refitted_codes_lie_no_farther_from_the_signal_than_nothing(code):
    """Twenty atoms that are nearly one: correlations would count the signal up to k times."""
    torch.manual_seed(0)
    safe = SparseDictionary(20, 12, coder=code)
    plain = type(code)(8, refit=False)
    with pytest.warns(UserWarning, match="double-count"):
        unsafe = SparseDictionary(20, 12, coder=plain)
    with torch.no_grad():
        alike = torch.ones(12) + 0.05 * torch.randn(20, 12)
        for bottleneck in (safe, unsafe):
            bottleneck.dictionary.copy_(alike)
    features = _features(50, 12) + 1.0

    def residual(bottleneck):
        stats = bottleneck.eval()(features).stats
        return float(stats["residual_sum"] / stats["energy_sum"])

    assert residual(safe) < 1
    assert residual(unsafe) > 5


def test_correlations_that_are_not_refitted_are_no_matter_of_concern_with_exact_gradients(recwarn):
    SparseDictionary(20, 6, coder=TopK(3, refit=False), gradient="implicit")
    SparseDictionary(20, 6, coder=Lasso(0.3, refit=False))
    assert len(recwarn) == 0


def test_the_commitment_is_the_distance_of_features_and_code_in_their_own_units():
    """In units of the running scale, which lags, features would shrink to please it."""
    for gradient in ("straight_through", "implicit"):
        bottleneck = _trained(gradient=gradient)
        features = _features(4, 2, 6, scale=0.01)
        latent = bottleneck(features)
        distance = (features - latent.z).square().flatten(1).sum(1)
        for term in latent.terms.values():
            torch.testing.assert_close(term, distance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("code", [Lasso(0.5), Lasso(2.0, relative=False)])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_controller_holds_its_target_whatever_the_scale_of_the_features(code, scale):
    torch.manual_seed(0)
    bottleneck = SparseDictionary(40, 12, coder=code, target_l0=3.0)
    for step in range(120):
        bottleneck.update([bottleneck(_features(300, 12, seed=step, scale=scale))])
    latent = bottleneck.eval()(_features(3000, 12, seed=999, scale=scale))
    l0 = bottleneck.summary(latent.stats, 3000)["l0"]
    assert l0 == pytest.approx(3.0, rel=0.05)
    assert bottleneck.advice({"l0": 4.0, "atoms_used": 1.0}) != []


def test_a_refit_undoes_the_shrinkage_of_the_lasso():
    one, other = _trained(Lasso(0.3, refit=False)), _trained(Lasso(0.3), steps=0)
    other.load_state_dict(one.state_dict())
    features = _features(100, 6, scale=7.0) + 3
    shrunken, refitted = one.eval()(features), other.eval()(features)
    assert torch.equal(shrunken.code[0], refitted.code[0])
    assert refitted.stats["residual_sum"] < 0.9 * shrunken.stats["residual_sum"]


def test_a_refit_code_never_overshoots_what_plain_correlations_count_twice():
    """Atoms alike: correlations add up to several times the signal, least squares cannot."""
    plain, refitted = (_trained(TopK(3, refit=refit), steps=0) for refit in (False, True))
    for bottleneck in (plain, refitted):
        with torch.no_grad():
            bottleneck.dictionary[:] = bottleneck.dictionary[0] + 0.05 * _features(20, 6)
    along = plain.atoms[:1].detach() * 5
    assert plain(along).z.norm() > 2 * along.norm()
    assert refitted(along).z.norm() <= along.norm() * (1 + 1e-5)


def test_stats_of_two_batches_add_up_to_those_of_both():
    bottleneck = _trained().eval()
    features = _features(10, 4, 6)
    whole = bottleneck(features).stats
    parts = [bottleneck(part).stats for part in features.split(5)]
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value)


def test_summary_of_an_exactly_k_sparse_code_reports_k():
    bottleneck = _trained().eval()
    latent = bottleneck(_features(200, 6, scale=7.0) + 3)
    summary = bottleneck.summary(latent.stats, 200)
    assert summary["l0"] == 3
    assert summary["atoms_used"] == 1
    assert bottleneck.advice({**summary, "atoms_used": 0.1, "l0": 19.0}) != []


def test_one_code_an_image_covers_all_its_sites():
    torch.manual_seed(0)
    bottleneck = SparseDictionary(size=10, dim=6, coder=TopK(2), sites=(4, 4))
    features = _features(20, 4, 4, 6)
    bottleneck.update([bottleneck(features)])
    latent = bottleneck.eval()(features)
    assert latent.code[0].shape == (20, 2)
    assert latent.z.shape == features.shape
    assert torch.equal(bottleneck.embed(latent.code), latent.z)
    prior = bottleneck.default_prior((4, 4)).fit([latent])
    quantised = prior.quantize(latent.code)
    assert bottleneck.embed(quantised).shape == features.shape
    with pytest.raises(ValueError, match=r"sites=\(4, 4\)"):
        bottleneck(_features(2, 6))


def test_forward_changes_no_state():
    bottleneck = _trained(BatchTopK(3))
    before = copy.deepcopy(bottleneck.state_dict())
    for mode in (True, False):
        bottleneck.train(mode)(_features(8, 6))
    for name, value in bottleneck.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_step_can_be_repeated_from_a_saved_state():
    one, other = _trained(), _trained(steps=0)
    other.load_state_dict(one.state_dict())
    latents = [one(_features(50, 6, seed=3))]
    one.update(latents)
    other.update(latents)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_it_can_be_described_and_made_again():
    bottleneck = SparseDictionary(20, 6, coder=BatchTopK(3), gradient="implicit")
    again = build(spec(bottleneck))
    assert spec(again) == spec(bottleneck)
    assert isinstance(again.coder, BatchTopK)


def test_default_prior_prices_and_samples_the_quantised_code():
    bottleneck = _trained().eval()
    latent = bottleneck(_features(6, 4, 4, 6))
    prior = bottleneck.default_prior((4, 4))
    code = prior.quantize(latent.code)
    rate = prior.rate(type(latent)(z=bottleneck.embed(code), code=code, features=latent.features))
    assert rate.shape == (6,)
    assert (rate > 0).all()
    assert bottleneck.embed(prior.sample(3)).shape == (3, 4, 4, 6)


def test_an_empty_batch_passes():
    bottleneck = _trained()
    latent = bottleneck(torch.zeros(0, 4, 6))
    assert latent.z.shape == (0, 4, 6)
    assert latent.terms["commitment"].shape == (0,)
    bottleneck.update([latent])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (dict(coder=TopK(21)), ValueError, "1 <= k <= 20"),
        (dict(coder=4), TypeError, "expected coder to be a Coder such as"),
        (dict(gradient="none"), ValueError, "gradient"),
        (dict(commitment=-1.0), ValueError, "commitment"),
        (dict(target_l0=3.0), TypeError, "target_l0"),
        (dict(coder=Lasso(), target_l0=-1.0), ValueError, "target_l0"),
        (dict(coder=OMP(7)), ValueError, "6 dimensions"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        SparseDictionary(**{"size": 20, "dim": 6, "coder": TopK(3), **arguments})


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_a_count_that_is_none_is_refused(k):
    with pytest.raises(ValueError, match=r"k >= 1|k to be a whole number"):
        TopK(k)


def test_penalties_that_are_none_are_refused():
    with pytest.raises(ValueError, match="lambda >= 0"):
        Lasso(-1.0)
    with pytest.raises(ValueError, match="refit"):
        Lasso(0.1, refit=True, nonnegative=True)


def test_codes_of_another_bottleneck_are_refused():
    with pytest.raises(ValueError, match="atoms in 0"):
        _trained().embed(Atoms(torch.tensor([[25]]), torch.tensor([[1.0]])))


def test_with_one_atom_a_feature_an_image_comes_back_unscrambled_from_channels_first():
    """D = I and all atoms: NCHW -> channels last -> one code an image -> NCHW is the identity."""
    bottleneck = SparseDictionary(24, 4, coder=OMP(24), sites=(2, 3)).eval()
    with torch.no_grad():
        bottleneck.dictionary.copy_(torch.eye(24))
    images = _features(5, 4, 2, 3)
    z = bottleneck(images.movedim(1, -1)).z.movedim(-1, 1)
    torch.testing.assert_close(z, images)


def test_a_change_at_one_site_changes_the_code_of_that_site_alone():
    bottleneck = _trained(OMP(2)).eval()
    features = _features(3, 4, 4, 6)
    touched = features.clone()
    touched[1, 2, 3] += 5.0
    changed = (bottleneck(features).z != bottleneck(touched).z).any(-1)
    assert changed.nonzero().tolist() == [[1, 2, 3]]
