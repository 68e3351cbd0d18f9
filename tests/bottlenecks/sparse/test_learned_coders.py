"""The architectures of sparse autoencoders: what each is, term by term."""

import copy

import pytest
import torch
from torch.nn.functional import normalize

import narrows as nw
from narrows.bottlenecks import (
    OMP,
    AuxK,
    BatchTopK,
    Gated,
    JumpReLU,
    Lasso,
    Matryoshka,
    ReLU,
    SparseDictionary,
    TopK,
    Untied,
)
from narrows.recorded import build, spec
from narrows.testing import check_bottleneck

# A coder without a refit that is about to be refused.
pytestmark = pytest.mark.filterwarnings("ignore:.*correlated atoms double-count:UserWarning")

SIZE, DIM = 24, 8


def _plain(kind, k=3):
    return kind(k, refit=False, nonnegative=True)


CODERS = {
    "top-k": lambda: AuxK(Untied(_plain(TopK))),
    "signed top-k": lambda: Untied(TopK(3, refit=False)),
    "batch top-k": lambda: Untied(_plain(BatchTopK)),
    "relu": lambda: ReLU(0.5),
    "jump-relu": lambda: JumpReLU(0.5),
    "gated": lambda: Gated(0.5),
    "matryoshka": lambda: Matryoshka(AuxK(Untied(_plain(BatchTopK))), prefixes=(4, 12)),
    "matryoshka jump-relu": lambda: Matryoshka(AuxK(JumpReLU()), prefixes=(4, 12)),
}


def _features(n=64, seed=0):
    return 2 * torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed)) + 3


def _made(name, steps=3, **options):
    """A bottleneck whose learned parts are off their start."""
    torch.manual_seed(0)
    bottleneck = SparseDictionary(SIZE, DIM, coder=CODERS[name](), **options).double()
    for seed in range(steps):
        bottleneck.update([bottleneck(_features(seed=seed).double())])
    with torch.no_grad():
        for part in bottleneck.learned.parameters():
            part += 0.05 * torch.randn_like(part)
    return bottleneck


# With a straight-through gradient most are among the families, whose contract is checked elsewhere.
@pytest.mark.parametrize("name", ["signed top-k", "relu", "gated", "matryoshka jump-relu"])
def test_an_architecture_with_an_exact_gradient_keeps_the_contract(name):
    torch.manual_seed(1)
    bottleneck = SparseDictionary(SIZE, DIM, coder=CODERS[name](), gradient="implicit")
    check_bottleneck(bottleneck, export=False)


@pytest.mark.parametrize("name", CODERS)
def test_an_architecture_can_be_described_and_made_again(name):
    one = SparseDictionary(SIZE, DIM, coder=CODERS[name]())
    again = build(spec(one))
    again.load_state_dict(one.state_dict())
    assert spec(again) == spec(one)
    x = _features()
    assert torch.equal(one.eval()(x).z, again.eval()(x).z)


def _dense(bottleneck, x):
    """Signals, encoder outputs, atoms: the formulas' parts, dense."""
    part = bottleneck.learned
    signals = (x - bottleneck.centre) / bottleneck.scale
    return signals, signals @ part.weight.T + part.bias, bottleneck.atoms


def _activations(name, bottleneck, outputs):
    """What each paper says the code is."""
    inner = bottleneck.learned.inner
    if name == "relu":
        return outputs.relu()
    if name == "jump-relu":
        return outputs * (outputs > inner.log_threshold.exp())
    if name == "gated":
        return (outputs > 0) * (inner.log_gain.exp() * outputs + inner.shift).relu()
    if name == "batch top-k":  # in use
        return outputs * (outputs >= bottleneck.level)
    kept = (outputs if name == "top-k" else outputs.abs()).topk(3, dim=1).indices
    codes = torch.zeros_like(outputs).scatter(1, kept, outputs.gather(1, kept))
    return codes.relu() if name == "top-k" else codes


DENSE = ["top-k", "signed top-k", "batch top-k", "relu", "jump-relu", "gated"]


@pytest.mark.parametrize("name", DENSE)
def test_codes_and_reconstructions_are_those_of_the_dense_formula(name):
    bottleneck, x = _made(name).eval(), _features(seed=9).double()
    with torch.no_grad():
        bottleneck.learned.bias -= 0.5  # within the width that a code has
    _, outputs, atoms = _dense(bottleneck, x)
    codes = _activations(name, bottleneck, outputs)
    latent = bottleneck(x)
    assert torch.allclose(latent.code.coefficients(SIZE), codes, atol=1e-12)
    rebuilt = bottleneck.centre + bottleneck.scale * codes @ atoms
    assert torch.allclose(latent.z, rebuilt, atol=1e-12)


def test_the_encoder_starts_as_the_atoms():
    torch.manual_seed(0)
    bottleneck = SparseDictionary(SIZE, DIM, coder=CODERS["top-k"]())
    assert torch.equal(bottleneck.learned.weight, bottleneck.atoms)
    bottleneck.update([bottleneck(_features())])  # now the atoms are those of the data
    assert torch.allclose(bottleneck.learned.weight, bottleneck.atoms)
    bottleneck.set_atoms(torch.eye(SIZE, DIM) + 0.1)
    assert torch.allclose(bottleneck.learned.weight, normalize(torch.eye(SIZE, DIM) + 0.1))


def test_an_atom_that_is_replaced_takes_its_encoder_along():
    bottleneck = _made("jump-relu").float()
    bottleneck.idle[5] = 1e9
    part = bottleneck.learned
    before = part.weight.detach().clone()
    others = [spot for spot in range(SIZE) if spot != 5]
    bottleneck.learned.bias.data[5] = -100.0  # so that it is not used after all
    bottleneck.update([bottleneck(_features())])
    assert torch.equal(part.weight[others], before[others])
    length = before[others].norm(dim=1).mean()
    assert torch.allclose(part.weight[5], length * bottleneck.atoms[5], atol=1e-6)
    assert torch.allclose(part.inner.log_threshold[5], part.inner.log_threshold[others].mean())


@pytest.mark.parametrize(
    ("name", "terms"), [("relu", ["sparsity"]), ("gated", ["sparsity", "gates"])]
)
def test_losses_and_their_gradients_are_those_of_the_dense_formula(name, terms):
    bottleneck, x = _made(name), _features(seed=9).double()
    with torch.no_grad():
        bottleneck.learned.bias -= 0.5
    latent = bottleneck(x)
    ours = latent.terms["dictionary"] + sum(latent.terms[term] for term in terms)
    signals, outputs, atoms = _dense(bottleneck, x)
    codes, gates = _activations(name, bottleneck, outputs), outputs.relu()
    dense = (signals - codes @ atoms).square().sum(1) + bottleneck.level * gates.sum(1)
    if name == "gated":
        dense = dense + (signals - gates @ atoms.detach()).square().sum(1)
    dense = bottleneck.scale.square() * dense
    assert torch.allclose(ours, dense)
    parameters = list(bottleneck.parameters())
    for one, two in zip(
        torch.autograd.grad(ours.sum(), parameters),
        torch.autograd.grad(dense.sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(one, two, atol=1e-9)


def test_the_thresholds_of_jump_relu_learn_from_all_atoms_within_the_bandwidth():
    """Also from those that are not active, atom 0 among them."""
    torch.manual_seed(0)
    coder = JumpReLU(0.5, threshold=0.8, bandwidth=0.6)
    bottleneck = SparseDictionary(SIZE, SIZE, coder=coder).double()  # no code is cut short
    x = torch.randn(64, SIZE).double()
    latent = bottleneck(x)
    loss = (latent.terms["dictionary"] + latent.terms["sparsity"]).sum()
    theta = bottleneck.learned.inner.log_threshold
    (ours,) = torch.autograd.grad(loss, theta)
    signals, outputs, atoms = _dense(bottleneck, x)
    codes = outputs * (outputs > 0.8)
    near = ((outputs - 0.8).abs() < 0.3) / 0.6
    to_codes = 2 * (codes @ atoms - signals) @ atoms.T
    wanted = (-0.8 * near * to_codes - bottleneck.level * near).sum(0) * 0.8  # d theta / d log
    assert torch.allclose(ours, wanted.detach())


def test_prefixes_of_a_matryoshka_code_are_reconstructed_alone():
    bottleneck, x = _made("matryoshka"), _features(seed=9).double()
    latent = bottleneck(x)
    codes = latent.code.coefficients(SIZE)
    signals, _, atoms = _dense(bottleneck, x)
    wanted = sum((signals - codes[:, :m] @ atoms[:m]).square().sum(1) for m in (4, 12))
    assert torch.allclose(latent.terms["prefixes"], bottleneck.scale.square() * wanted)


def test_the_auxiliary_loss_sees_what_is_left_over_and_no_centre():
    bottleneck, x = _made("top-k"), _features(seed=9).double()
    bottleneck.idle[[1, 4, 6]] = 1e6
    assert bottleneck.dead.nonzero().flatten().tolist() == [1, 4, 6]
    latent = bottleneck(x)
    signals, outputs, atoms = _dense(bottleneck, x)
    left = (signals - latent.code.coefficients(SIZE) @ atoms).detach()
    dead = outputs[:, [1, 4, 6]].relu()
    wanted = (left - dead @ atoms[[1, 4, 6]]).square().sum(1)  # k is 4, more than there are
    assert torch.allclose(latent.terms["auxiliary"], bottleneck.scale.square() * wanted)
    (gradient,) = torch.autograd.grad(latent.terms["auxiliary"].sum(), bottleneck.learned.weight)
    assert (gradient.norm(dim=1) > 0).nonzero().flatten().tolist() == [1, 4, 6]
    assert bottleneck.weights["auxiliary"] == 1 / 32


def test_losses_inside_are_no_business_of_the_features_behind_a_straight_through_gradient():
    bottleneck = _made("gated").float()
    x = _features().requires_grad_()
    terms = bottleneck(x).terms
    inside = sum(terms[name].sum() for name in ("dictionary", "sparsity", "gates"))
    (to_x,) = torch.autograd.grad(inside, x, allow_unused=True, retain_graph=True)
    assert to_x is None
    (to_x,) = torch.autograd.grad(terms["commitment"].sum(), x)
    assert (to_x != 0).any()


def _superposed(n, seed):
    """Sparse sums of 48 known directions in 24 dimensions, off centre."""
    known = normalize(torch.randn(48, 24, generator=torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(n, 48, generator=generator) < 3 / 48
    return (on * (1 + torch.rand(n, 48, generator=generator))) @ known + 5


@pytest.mark.parametrize("coder", [ReLU(), JumpReLU(), Gated()], ids=["relu", "jump", "gated"])
def test_a_fit_ends_at_the_target_l0_whatever_the_knob(coder):
    torch.manual_seed(0)
    bottleneck = SparseDictionary(48, 24, coder=coder, target_l0=3.0)
    model = nw.Autoencoder.for_vectors(24, bottleneck, network=nw.networks.Direct())
    data = nw.data.from_array(_superposed(6000, 1), fractions=(0.05, 0.5))  # 3,000 tell 5 %
    run = nw.fit(model, data, epochs=8, optimization=nw.Optimization(3e-3), show=False)
    assert run.test["l0"] == pytest.approx(3.0, rel=0.05)
    assert run.test["atoms_used"] > 0.9
    assert run.test["nmse"] < 0.8


@pytest.mark.parametrize("coder", [OMP(2), Lasso(0.2), TopK(2), ReLU(), Untied(_plain(TopK))])
def test_an_encoder_goes_before_coders_that_take_one_number_for_each_atom(coder):
    with pytest.raises(TypeError, match="refit=False"):
        Untied(coder)


def test_what_cannot_be_is_refused():
    with pytest.raises(TypeError, match="AuxK"):
        AuxK(OMP(2))
    with pytest.raises(TypeError, match="Coder"):
        Untied(3)
    with pytest.raises(ValueError, match="ascending"):
        Matryoshka(OMP(2), prefixes=(8, 4))
    with pytest.raises(ValueError, match="smaller than the dictionary"):
        SparseDictionary(SIZE, DIM, coder=Matryoshka(OMP(2), prefixes=(8, SIZE)))
    with pytest.raises(ValueError, match="bandwidth"):
        JumpReLU(bandwidth=0.0)
    with pytest.raises(ValueError, match="weight > 0"):
        Gated(0.0)
    with pytest.raises(TypeError, match="target_l0"):
        SparseDictionary(SIZE, DIM, coder=Untied(_plain(TopK)), target_l0=3.0)


@pytest.mark.parametrize("name", ["jump-relu", "auxiliary"])
def test_compiled_training_has_the_same_gradients(name):
    """With graphs of their own for thresholds and dead atoms, which the compiler has to follow."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    coder = (
        JumpReLU(bandwidth=1.0)
        if name == "jump-relu"
        else AuxK(Untied(TopK(2, refit=False, nonnegative=True)), k=3)
    )
    one = SparseDictionary(24, 8, coder=coder).train()
    one(x)
    one.steps.fill_(1)
    one.idle[::3] = 1e9
    other = copy.deepcopy(one)
    found = []
    for run, part in ((one, one), (torch.compile(other, backend="eager"), other)):
        latent = run(x)
        weights = part.weights
        sum((weights[term] * value.sum() for term, value in latent.terms.items())).backward()
        found.append({key: value.grad for key, value in part.named_parameters()})
    assert found[0].keys() == found[1].keys()
    assert any("threshold" in key for key in found[0]) == (name == "jump-relu")
    for key, gradient in found[0].items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(found[1][key], gradient, rtol=1e-4, atol=1e-5)
