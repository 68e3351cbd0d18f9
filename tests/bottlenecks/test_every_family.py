"""Every family can be frozen, converted and compiled, and checks its ids."""

import copy
import warnings

import pytest
import torch

import narrows as nw
from narrows.bottlenecks import (
    Bottleneck,
    CodebookLearning,
    Rounded,
    Split,
    Variational,
    VectorQuantizer,
)
from narrows.codes import is_discrete
from narrows.distributions import Student
from tests import families

WARM = CodebookLearning(init="kmeans", warmup=2)
GRADIENT = CodebookLearning("gradient", "uniform")
FAMILIES = {
    **{name: make for name, make in families.FAMILIES.items() if make().per_site},
    "student": lambda: Variational(4, Student(5.0)),
    "rounded, noise": lambda: Rounded(4, estimator="noise"),
    "vq uniform": lambda: VectorQuantizer(8, 4, learning=GRADIENT),
}


@pytest.fixture(params=FAMILIES)
def bottleneck(request: pytest.FixtureRequest) -> Bottleneck:
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FAMILIES[request.param]().train()


def features(bottleneck: Bottleneck, n: int = 16) -> torch.Tensor:
    return torch.randn(n, 3, bottleneck.in_features)


def test_a_frozen_bottleneck_learns_nothing(bottleneck):
    x = features(bottleneck)
    for _ in range(2):
        bottleneck.update([bottleneck(x)])
    bottleneck.requires_grad_(False)
    before = copy.deepcopy(bottleneck.state_dict())
    for _ in range(3):
        bottleneck.update([bottleneck(x + 1)])
    assert all(torch.equal(value, before[name]) for name, value in bottleneck.state_dict().items())
    assert not bottleneck.requires_grad_(True).frozen


@pytest.mark.parametrize("freeze", ["bottleneck", "model", "parameters"])
def test_fit_leaves_a_frozen_codebook_alone(freeze):
    data = nw.data.load("digits")
    quantizer = VectorQuantizer(16, 4, learning=GRADIENT if freeze == "parameters" else WARM)
    network = nw.networks.Conv(hidden=8, downsamplings=1)
    model = nw.Autoencoder.for_images(data.shape, quantizer, network=network)
    quantizer.set_codewords(torch.randn(16, 4))
    if freeze == "parameters":
        for parameter in quantizer.parameters():
            parameter.requires_grad = False
    elif freeze == "model":
        model.requires_grad_(False)
        model.encoder.requires_grad_(True)
    else:
        quantizer.requires_grad_(False)
    before = copy.deepcopy(quantizer.state_dict())
    nw.fit(model, data, epochs=1, batch_size=512, show=False)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize("init", ["data", "kmeans", "uniform"])
@pytest.mark.parametrize("door", ["set_codewords", "in place"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("started", [False, True])
def test_a_codebook_that_was_given_is_where_learning_begins(init, door, metric, started):
    learning = CodebookLearning(init=init, revive_after=None)
    quantizer = VectorQuantizer(4, 2, learning=learning, metric=metric).train()
    if started:
        for _ in range(3):
            quantizer.update([quantizer(torch.randn(64, 2))])
    given = 10 * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    if door == "in place":
        quantizer.codebook.vectors.copy_(given)
    else:
        quantizer.set_codewords(given)
    for _ in range(3):
        quantizer.update([quantizer(given[:2] + 0.01)])
    wanted = given if metric == "euclidean" else given / 10
    codes = quantizer.codebook.codes
    assert torch.allclose(codes, wanted, atol=0.02)


def test_a_part_that_is_freed_again_learns_within_a_frozen_whole():
    split = Split([VectorQuantizer(4, 2), VectorQuantizer(4, 2)]).train()
    split.requires_grad_(False)
    split.parts[1].requires_grad_(True)
    split.update([split(torch.randn(16, 4))])
    assert [int(part.codebook.updates) for part in split.parts] == [0, 1]


def test_codewords_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(8, 4\)"):
        VectorQuantizer(8, 4).set_codewords(torch.zeros(8, 3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_ids_of_any_integer_type_mean_the_same(bottleneck, dtype):
    code = bottleneck.eval()(features(bottleneck)).code
    if isinstance(code, torch.Tensor) and is_discrete(code):
        assert torch.equal(bottleneck.embed(code.to(dtype)), bottleneck.embed(code))


@pytest.mark.parametrize("wrong", [-2, 10**6])
def test_ids_out_of_range_are_refused_with_the_bound(bottleneck, wrong):
    code = bottleneck.eval()(features(bottleneck)).code
    if isinstance(code, torch.Tensor) and is_discrete(code):
        code = code.clone()
        code.view(-1)[0] = wrong
        with pytest.raises(ValueError, match=rf"in -?[01]\.\.{bottleneck.codes.size - 1}, got"):
            bottleneck.embed(code)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_converted_bottleneck_trains_and_codes(bottleneck, dtype):
    bottleneck.to(dtype)
    x = features(bottleneck).to(dtype)
    for _ in range(2):
        latent = bottleneck(x.clone().requires_grad_())
        (latent.z.float().sum() + sum(term.sum() for term in latent.terms.values())).backward()
        bottleneck.update([latent])
    latent = bottleneck.eval()(x)
    assert latent.z.dtype == dtype
    assert torch.equal(bottleneck.embed(latent.code), latent.z)
    assert bool(latent.z.isfinite().all())
    for name, state in bottleneck.state_dict().items():
        assert state.dtype not in (torch.float16, torch.bfloat16), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parts_made_under_a_default_of_float64_work(dtype):
    torch.set_default_dtype(torch.float64)
    try:
        for make in FAMILIES.values():
            bottleneck = make().train()
            x = features(bottleneck).to(dtype)
            bottleneck.update([bottleneck(x)])
            latent = bottleneck.eval()(x)
            assert bottleneck.embed(latent.code).shape == latent.z.shape
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "make", [FAMILIES["vq ema"], FAMILIES["free bits"], FAMILIES["sparse top-k"]]
)
def test_a_converted_model_does_all_that_a_model_does(make, dtype):
    model = nw.Autoencoder.for_vectors(6, make()).to(dtype)
    x = torch.rand(8, 6)
    loss = model.loss(x)
    loss.total.backward()
    model.update(x, loss)
    model.eval()
    assert model.reconstruct(x).dtype == dtype
    if loss.rate is not None:
        assert model.sample(3).shape == (3, 6)
        assert bool(model.bits(x).isfinite().all())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("assign", [True, False])
def test_a_model_made_on_a_meta_device_is_the_one_whose_weights_it_loads(name, assign):
    def make():
        return nw.Autoencoder.for_vectors(6, FAMILIES[name](), network=nw.networks.Mlp((8,)))

    torch.manual_seed(1)
    model = make().eval()
    with torch.device("meta"):
        again = make().eval()
    if not assign:
        again.to_empty(device="cpu")
    again.load_state_dict(model.state_dict(), assign=assign)
    assert not any(t.is_meta for t in [*again.parameters(), *again.buffers()])
    x = torch.randn(16, 6)
    latent, same = model.latent(x), again.latent(x)
    assert torch.equal(latent.z, same.z)
    assert torch.equal(again.bottleneck.embed(same.code), same.z)
    loss = again.train().loss(x)
    loss.total.backward()
    again.update(x, loss)


@pytest.mark.parametrize("training", [True, False])
def test_every_bottleneck_compiles_whole(bottleneck, training):
    torch._dynamo.reset()
    bottleneck.train(training)
    x = features(bottleneck)
    latent = torch.compile(bottleneck, backend="eager", fullgraph=True)(x)
    assert latent.z.shape[:2] == (16, 3)
    if not training:
        assert torch.allclose(latent.z, bottleneck(x).z, atol=1e-6)
