"""A bottleneck in a model and a loop of one's own."""

import copy
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

import narrows as nw
from narrows.training import Constant, seed_step
from narrows.training.evaluation import latents
from tests import families
from tests.training import ranks_program as program

SCORES = {"categorical rloo", "categorical nvil"}
FAMILIES = {k: make for k, make in families.FAMILIES.items() if k not in SCORES}
SIGMA = 0.25


@pytest.fixture(scope="module")
def digits():
    return nw.data.load("digits")


def untrained(family):
    torch.manual_seed(0)
    return nw.Autoencoder.for_images(
        (1, 8, 8), FAMILIES[family](), network=program.NETWORK, likelihood=nw.Normal(SIGMA)
    )


def states(*modules):
    return [v for module in modules for v in module.state_dict().values()]


def close(first, second, tolerance=1e-6):
    return all(
        torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_three_lines_in_a_plain_loop_equal_fit(family, digits, recwarn):
    fitted, own = untrained(family), untrained(family)
    plain = nw.Optimization(learning_rate=1e-3, schedule=Constant())
    data = nw.data.Dataset("some", digits.train.head(96), digits.validation.head(32), digits.test)
    nw.fit(fitted, data, epochs=2, batch_size=32, optimization=plain, show=False)
    prior = own.prior if own.prior.has_running_state else None
    layer = nw.Layer(own.bottleneck, axis=-1, prior=prior)
    optimizer = torch.optim.AdamW(own.parameters(), lr=1e-3, weight_decay=0)
    own.train()
    step = 0
    for epoch in range(2):
        for index in nw.data.batches(96, 32, epoch=epoch):
            seed_step(0, step)
            x = data.train.batch(index)
            z, _, loss = layer(own.encoder(x))
            (loss - own.likelihood.log_prob(x, own.decoder(z)).mean()).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    own.eval().bottleneck.settle(latents(own, data.train))  # as fit does once, at the end
    parts = ("encoder", "decoder", "bottleneck")
    assert close(
        states(*(getattr(own, p) for p in parts)), states(*(getattr(fitted, p) for p in parts))
    )


class Small(nn.Module):
    """Two convolutions around a layer."""

    def __init__(self, bottleneck, **options):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(4, 1, 2, 2)
        self.layer = nw.Layer(bottleneck, **options)

    def forward(self, x):
        z, _, loss = self.layer(self.encoder(x))
        return (self.decoder(z) - x).square().mean() + loss


def quantizer(**options):
    torch.manual_seed(1)
    return nw.VectorQuantizer(16, 4, **options)


def updates(model):
    return int(model.layer.bottleneck.codebook.updates)


def batch(seed=0, n=8):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def step(model, optimizer, *batches):
    for x in batches:
        (model(x) / len(batches)).backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((2, 4), 1),
        ((2, 4, 5), 1),
        ((2, 4, 3, 5), 1),
        ((2, 4, 2, 3, 5), 1),
        ((2, 5, 4), -1),
        ((2, 5, 4, 3), 2),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_any_axis_and_dtype_go_in_and_come_out(shape, axis, dtype):
    layer = nw.Layer(quantizer(), axis).eval()
    out = layer(torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype))
    assert out.z.shape == shape
    assert out.z.dtype == dtype
    assert out.loss.shape == ()
    sites = [n for i, n in enumerate(shape) if i not in (0, axis % len(shape))]
    assert list(out.code.shape) == [shape[0], *sites]
    assert out.bits.tolist() == pytest.approx([4.0 * torch.Size(sites).numel()] * shape[0])
    assert torch.equal(layer.embed(out.code).to(dtype), out.z)


def test_codes_follow_each_step_once_under_accumulation():
    model, large = Small(quantizer()), Small(quantizer())
    x = batch(n=8)
    for one, parts in ((model, x.split(4)), (large, [x])):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(3):
            step(one, optimizer, *parts)
    assert updates(model) == updates(large) == 3
    assert close(states(model), states(large), 1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_changes_nothing(reentrant):
    plain, again = Small(quantizer()), Small(quantizer())
    for model in (plain, again):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in range(3):
            x = batch(seed).requires_grad_()
            loss = model(x) if model is plain else checkpoint(model, x, use_reentrant=reentrant)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    assert updates(again) == 3
    assert close(states(plain), states(again))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_it_learns_the_same():
    plain, compiled = Small(quantizer()), Small(quantizer())
    for model, call in ((plain, plain), (compiled, torch.compile(compiled, backend="eager"))):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in range(3):
            call(batch(seed)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert updates(compiled) == 3
    assert close(states(plain), states(compiled))


def test_passes_that_no_backward_pass_reaches_teach_nothing():
    model = Small(quantizer())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = model(batch(1))  # in training, with a graph, but never used
    with torch.no_grad():
        model(batch(2))
    model.eval()
    model(batch(3))
    model.train()
    assert updates(model) == 0
    step(model, optimizer, batch(4))
    alone = Small(quantizer())
    step(alone, torch.optim.SGD(alone.parameters(), lr=0.1), batch(4))
    assert close(states(model), states(alone))
    assert kept.requires_grad


def test_another_models_step_moves_nothing():
    model, other = Small(quantizer()), Small(quantizer())
    optimizer, foreign = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, other))
    model(batch()).backward()
    step(other, foreign, batch(1))
    assert (updates(model), updates(other)) == (0, 1)
    optimizer.step()
    assert updates(model) == 1


def test_optimisers_of_encoder_and_decoder_are_one_step():
    model = Small(quantizer())
    first = torch.optim.SGD(model.decoder.parameters(), lr=0.1)
    second = torch.optim.SGD(model.encoder.parameters(), lr=0.1)
    model(batch()).backward()
    first.step()
    second.step()
    assert updates(model) == 1


def test_behind_a_frozen_encoder_the_codes_follow_the_decoders_steps():
    model = Small(quantizer())
    model.encoder.requires_grad_(False)
    step(model, torch.optim.SGD(model.decoder.parameters(), lr=0.1), batch())
    assert updates(model) == 1


def test_without_any_optimiser_update_is_called_by_hand():
    model = Small(quantizer())
    model(batch()).backward()
    model.layer.update()
    model.layer.update()
    assert updates(model) == 1


def test_averaged_copies_follow_the_weights_and_learn_nothing_themselves():
    plain, model = Small(quantizer()), Small(quantizer())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    for one in (plain, model):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for seed in range(3):
            step(one, optimizer, batch(seed))
            if one is model:
                average.update_parameters(model)
                average.eval()(batch(9))
    assert close(states(plain), states(model))
    vectors = average.module.layer.bottleneck.codebook.vectors
    assert not torch.equal(vectors, model.layer.bottleneck.codebook.vectors)


def test_an_optimiser_may_be_made_before_the_layer():
    early = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    model, later = Small(quantizer()), Small(quantizer())
    early.add_param_group({"params": list(model.parameters())})
    for one, optimizer in ((model, early), (later, torch.optim.SGD(later.parameters(), lr=0.1))):
        for seed in range(3):
            step(one, optimizer, batch(seed))
    assert updates(model) == 3
    assert close(states(model), states(later))


def test_evaluation_between_backward_and_step_changes_nothing():
    plain, model = Small(quantizer()), Small(quantizer())
    for one in (plain, model):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for seed in range(3):
            one(batch(seed)).backward()
            if one is model:
                model.eval()(batch(9))
                model.train()
            optimizer.step()
            optimizer.zero_grad()
    assert close(states(plain), states(model))


def test_a_frozen_layer_passes_gradients_and_learns_nothing():
    model = Small(quantizer())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer, batch())
    model.layer.freeze()
    before = [s.clone() for s in states(model.layer)]
    encoder = model.encoder.weight.detach().clone()
    step(model, optimizer, batch(1))
    assert all(torch.equal(a, b) for a, b in zip(before, states(model.layer), strict=True))
    assert not torch.equal(encoder, model.encoder.weight)
    model.layer.unfreeze()
    step(model, optimizer, batch(2))
    assert updates(model) == 2


@pytest.mark.parametrize("frozen", [False, True])
def test_given_codewords_and_a_stopped_run_go_on_from_what_was_saved(frozen):
    def made():
        model = Small(quantizer())
        model.layer.bottleneck.set_codewords(torch.eye(16)[:, :4] + 1)
        if frozen:
            model.layer.freeze()
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    whole, stopped = made(), made()
    for seed in range(4):
        step(*whole, batch(seed))
    for seed in range(2):
        step(*stopped, batch(seed))
    again = made()
    for new, old in zip(again, stopped, strict=True):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    for seed in range(2, 4):
        step(*again, batch(seed))
    assert close(states(whole[0]), states(again[0]), 0)
    given = torch.eye(16)[:, :4] + 1
    assert torch.equal(again[0].layer.bottleneck.codebook.vectors, given) == frozen


def test_a_copy_is_a_layer_of_its_own():
    model = Small(quantizer())
    model(batch()).backward()
    twin = copy.deepcopy(model)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert (updates(model), updates(twin)) == (1, 0)
    step(twin, torch.optim.SGD(twin.parameters(), lr=0.1), batch())
    assert updates(twin) == 1


class Mark(torch.autograd.Function):
    """The identity, whose graph can be watched."""

    @staticmethod
    def forward(ctx, x):
        ctx.watched = Watched()
        Mark.last = weakref.ref(ctx.watched)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Watched:
    """Something that a weak reference can be to."""


def test_nothing_is_kept_alive():
    model = Small(quantizer())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gc.collect()
    gc.disable()
    try:
        out = model.layer(Mark.apply(model.encoder(batch())))
        out.z.sum().backward()
        optimizer.step()
        assert Mark.last() is not None
        del out
        assert Mark.last() is None
        gone = weakref.ref(model.layer)
        del model, optimizer
    finally:
        gc.enable()
    gc.collect()
    assert gone() is None


def test_per_element_the_loss_is_that_of_the_example_over_its_features():
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    example, element = (nw.Layer(quantizer(), per=per).eval() for per in ("example", "element"))
    element.load_state_dict(example.state_dict())
    assert float(element(x).loss) == pytest.approx(float(example(x).loss) / 24)


def test_the_rate_of_a_variational_code_is_in_the_loss_beta_times():
    x = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(0))
    layer = nw.Layer(nw.Variational(4), beta=0.5).eval()
    out = layer(x)
    latent = layer.bottleneck(x.movedim(1, -1))
    nats = layer.bottleneck.default_prior((6,)).rate(latent)
    assert out.bits.tolist() == pytest.approx((nats / torch.log(torch.tensor(2.0))).tolist())
    assert float(out.loss) == pytest.approx(0.5 * float(nats.mean()))
    plain = nw.Layer(quantizer()).eval()
    found = plain(x[:, :4])  # its constant rate of 4 bits a site is not in the loss
    assert found.bits.tolist() == [24.0] * 3
    terms = found.latent.terms["commitment"].mean()
    assert float(found.loss) == pytest.approx(0.25 * float(terms))


PER_SITE = {k: make for k, make in FAMILIES.items() if make().per_site}


def features(family, *shape):
    width = FAMILIES[family]().in_features
    return torch.randn(*shape, width, generator=torch.Generator().manual_seed(1))


def trained_on(family, x, mask=None):
    """A layer after one step, and what it returned."""
    torch.manual_seed(0)
    bottleneck = FAMILIES[family]()
    prior = bottleneck.default_prior(() if mask is not None else tuple(x.shape[1:-1]))
    layer = nw.Layer(bottleneck, axis=-1, prior=prior if prior.has_running_state else None)
    scale = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([scale, *layer.parameters()], lr=0.01)
    torch.manual_seed(2)
    y = (
        scale * x
        if mask is None
        else torch.full_like(x, torch.nan).masked_scatter(
            mask[..., None].expand_as(x), scale * x[mask]
        )
    )
    out = layer(y, mask)
    used = out.z if mask is None else out.z[mask]
    (used.square().sum() + out.loss).backward()
    optimizer.step()
    return layer, out, scale


@pytest.mark.parametrize("family", PER_SITE)
def test_a_padded_batch_equals_the_unpadded_one(family):
    x = features(family, 4, 5)
    padded = torch.full((4, 9, x.shape[-1]), torch.nan)
    padded[:, :5] = x
    mask = torch.zeros(4, 9, dtype=torch.bool)
    mask[:, :5] = True
    every = torch.ones(4, 5, dtype=torch.bool)
    (layer, out, scale), (own, plain, known) = (
        trained_on(family, padded, mask),
        trained_on(family, x, every),
    )
    assert close([out.z[:, :5], out.loss, scale], [plain.z, plain.loss, known])
    assert close(states(layer), states(own))
    assert bool((out.z[:, 5:] == 0).all())
    if out.bits is not None:
        assert close([out.bits], [plain.bits], 1e-5)


# How many stages are sent is drawn once an example, which a site alone is, too.
@pytest.mark.parametrize("family", [name for name in PER_SITE if name != "residual"])
def test_images_of_different_sizes_in_one_batch_equal_their_sites_alone(family):
    x = features(family, 3, 4, 5)
    mask = torch.zeros(3, 4, 5, dtype=torch.bool)
    for image, (height, width) in enumerate([(4, 2), (1, 5), (0, 0)]):  # the last is padding
        mask[image, :height, :width] = True
    (_, out, _), (_, alone, _) = trained_on(family, x, mask), trained_on(family, x[mask])
    assert close([out.z[mask], 2 * out.loss], [alone.z, 13 * alone.loss])
    if out.bits is not None:
        assert close([out.bits], [torch.stack([b.sum() for b in alone.bits.split([8, 5, 0])])])


def test_one_precision_goes_through_a_mask_and_nan_outside_it_is_refused():
    layer = nw.Layer(quantizer())
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0)).half()
    x[0, :, 2:] = torch.nan
    out = layer(x, torch.tensor([2, 6, 6]))
    assert out.z.dtype == torch.float16
    assert bool(out.z.isfinite().all())
    with pytest.raises(ValueError, match="4 of 60 features are NaN"):
        layer(x, torch.tensor([3, 6, 6]))


@pytest.mark.parametrize("family", PER_SITE)
def test_a_mask_of_all_sites_changes_nothing(family):
    x = features(family, 4, 5)
    every = torch.ones(4, 5, dtype=torch.bool)
    (layer, out, scale), (own, plain, known) = trained_on(family, x, every), trained_on(family, x)
    assert close([out.z, out.loss, scale], [plain.z, plain.loss, known], 1e-5)
    assert close(states(layer), states(own), 1e-5)


def test_examples_that_are_coded_whole_are_masked_whole():
    torch.manual_seed(0)
    layer = nw.Layer(FAMILIES["sparse image"](), axis=-1).eval()
    x = torch.randn(3, 4, 4, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    mask[1] = False
    out = layer(x.masked_fill(~mask[..., None], torch.nan), mask)
    assert close([out.z[[0, 2]]], [layer(x[[0, 2]]).z])
    (learnt, _, scale), (own, _, known) = (
        trained_on("sparse image", x, mask),
        trained_on("sparse image", x[[0, 2]]),
    )
    assert close(states(learnt), states(own))
    assert close([scale], [known])
    mask[0, 0] = False
    with pytest.raises(ValueError, match="mask whole examples"):
        layer(x, mask)


def test_lengths_are_masks():
    layer = nw.Layer(quantizer()).eval()
    x = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([6, 2, 1])
    mask = torch.arange(6) < lengths[:, None]
    first, second = layer(x, lengths), layer(x, mask)
    assert torch.equal(first.code, second.code)
    assert bool(((first.code == -1) == ~mask).all())
    assert first.bits.tolist() == pytest.approx([24.0, 8.0, 4.0])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_a_mask_means_the_same():
    found = []
    for call in (lambda layer: layer, lambda layer: torch.compile(layer, backend="eager")):
        layer = nw.Layer(quantizer(), axis=-1)
        scale = nn.Parameter(torch.ones(()))
        optimizer = torch.optim.SGD([scale], lr=0.01)
        run = call(layer)
        for seed in range(2):
            x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed))
            out = run(scale * x, torch.tensor([5, 2 + seed, 1]))
            (out.z.square().sum() + out.loss).backward()
            optimizer.step()
        found.append([out.z, out.loss, out.code, scale, *states(layer)])
    assert close(*found)


@pytest.mark.parametrize(
    ("x", "mask", "says"),
    [
        (torch.zeros(2, 5, 4), None, "axis 2 has it: pass axis=2"),
        (torch.zeros(2, 3, 3), None, "expected features of width 4 on axis 1"),
        (torch.zeros(4), None, r"expected \[batch, ...\]"),
        (torch.zeros(0, 4, 3), None, "at least one example"),
        (torch.zeros(2, 4, 3, dtype=torch.int64), None, "floating-point"),
        (torch.full((2, 4, 3), torch.nan), None, "NaN or infinite"),
        (torch.zeros(2, 4, 3), torch.ones(2, 4, dtype=torch.bool), r"mask of shape \(2, 3\)"),
        (torch.zeros(2, 4, 3), torch.ones(2, 3), "expected a boolean mask"),
        (torch.zeros(2, 4, 3), torch.zeros(2, 3, dtype=torch.bool), "leaves no site in use"),
        (torch.zeros(2, 4, 3, 3), torch.tensor([1, 2]), "need one axis of sites"),
        (torch.zeros(2, 4, 3), torch.tensor([1, 4]), r"in 0\.\.3, got 1\.\.4"),
        (torch.zeros(2, 4, 3), torch.tensor([-1, 2]), r"in 0\.\.3, got -1\.\.2"),
    ],
)
def test_what_does_not_fit_is_refused(x, mask, says):
    with pytest.raises(ValueError, match=says):
        nw.Layer(quantizer())(x, mask)


def test_what_needs_the_cost_of_each_draw_is_refused():
    layer = nw.Layer(families.FAMILIES["categorical rloo"]())
    with pytest.raises(TypeError, match=r"nw\.Autoencoder"):
        layer(torch.zeros(2, layer.bottleneck.in_features, 3))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"axis": 0}, "axis 0"), ({"beta": -1.0}, "beta"), ({"per": "batch"}, "per must be")],
)
def test_wrong_options_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        nw.Layer(quantizer(), **options)


def ranks_end_with(folder, world):
    """The state that a world of ranks ends with."""
    program_file = Path(__file__).parent / "layer_program.py"
    out = folder / f"{world}.safetensors"
    rest = [str(world), str(folder / f"store-{world}"), str(out)]
    started = [
        subprocess.Popen([sys.executable, str(program_file), str(rank), *rest])
        for rank in range(world)
    ]
    assert [process.wait(timeout=120) for process in started] == [0] * world
    return load_file(out)


def test_two_ranks_equal_one(tmp_path):
    one, two = (ranks_end_with(tmp_path, world) for world in (1, 2))
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[k].double(), two[k].double(), atol=1e-5) for k in one)
    assert int(two["first.bottleneck.codebook.updates"]) == 10
