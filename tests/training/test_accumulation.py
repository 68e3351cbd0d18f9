"""Micro-batches make the step of one large batch: weights, running state and figures.

What takes something over the whole batch has it from the whole batch: the optimal sigma, free
bits, NVIL's scale, BatchTopK's choice. Everything else is a mean over examples. Compared after
eight steps of AdamW in float64, where its divisions leave the rounding of sums small.
"""

import dataclasses

import pytest
import torch
from torch import nn

import narrows as nw
from narrows.bottlenecks import NVIL, BatchTopK, Categorical, ScoreFunction, Variational
from narrows.likelihoods import Bernoulli, Categorical256, DiscretizedLogisticMixture, Normal
from narrows.networks import Conv, ResNet
from narrows.objectives import Denoising, ImportanceWeighted
from narrows.training import Callback, Engine, Geco, Optimization
from tests import families
from tests.training import ranks_program as program

NETWORK = Conv(hidden=8, residual_layers=1, residual_hidden=4, downsamplings=1)
BATCH, PARTS = 32, 4
OBJECTIVES = {
    "importance weighted": (lambda: Variational(3), ImportanceWeighted(3)),
    "vimco": (lambda: Categorical(4, 2, estimator=ScoreFunction()), ImportanceWeighted(3)),
    "denoising": (lambda: Variational(3), Denoising(0.2)),
}


@pytest.fixture(scope="module")
def digits():
    whole = nw.data.load("digits")
    parts = (whole.train.head(4 * BATCH), whole.validation.head(24), whole.test.head(24))
    return dataclasses.replace(whole, train=parts[0], validation=parts[1], test=parts[2])


class Sharing(Callback):
    """Every micro-batch of a step draws its rows of what is drawn for the whole batch."""

    def __init__(self, draws, parts):
        self.mode = program.SharedDraws(draws)
        self.mode.parts = parts

    def begin(self, model, folder):
        loss = type(model).loss

        def counted(x):
            self.mode.generator.set_state(self.state_before)
            self.mode.part += 1
            return loss(model, x)

        model.loss = counted

    def before_step(self, model, progress):
        self.state_before, self.mode.part = self.mode.generator.get_state(), -1
        self.mode.__enter__()

    def after_step(self, model, loss):
        self.mode.__exit__(None, None, None)


def trained(data, bottleneck, accumulate, likelihood=None, objective=None, **options):
    """State and figures after eight steps."""
    torch.manual_seed(0)
    network = options.pop("network", NETWORK)
    precision = options.pop("precision", "64-true")
    model = nw.Autoencoder.for_images(
        data.shape, bottleneck(), network=network, likelihood=likelihood, objective=objective
    )
    run = nw.fit(
        model, data, epochs=2, batch_size=BATCH // accumulate, show=False,
        engine=Engine("cpu", precision=precision, accumulate=accumulate),
        optimization=Optimization(learning_rate=1e-2, clip=1.0), **options,
    )  # fmt: skip
    figures = {k: v for k, v in run.history[-1].items() if k != "examples_per_second"}
    state = {k: v.detach().clone() for k, v in run.model.state_dict().items()}
    return state | {k: torch.tensor(v, dtype=torch.float64) for k, v in figures.items()}


def difference(one, two):
    """The largest, relative to what is compared where that is large, and where it is."""
    assert one.keys() == two.keys()
    found = []
    for name, value in one.items():
        if value.numel():
            scale = max(1.0, float(value.double().abs().max()))
            found.append((float((value.double() - two[name].double()).abs().max()) / scale, name))
    return max(found)


def compared(data, bottleneck, likelihood, objective=None, **options):
    """The difference that accumulation makes."""
    return difference(
        *(
            trained(data, bottleneck, parts, likelihood(), objective, **options)
            for parts in (1, PARTS)
        )
    )


def compared_with_shared_draws(data, bottleneck, likelihood, objective=None):
    """The same, where each micro-batch draws its own numbers unless they are shared."""
    draws = objective.draws if isinstance(objective, ImportanceWeighted) else bottleneck().draws
    states = []
    for parts in (1, PARTS):
        callbacks = [Sharing(draws, parts)]
        states.append(
            trained(data, bottleneck, parts, likelihood(), objective, callbacks=callbacks)
        )
    return difference(*states)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_under_the_optimal_sigma_as_with_one_large_batch(digits, name):
    """Random numbers included: they are drawn for the whole batch."""
    found = compared(digits, families.FAMILIES[name], Normal)
    assert found[0] < 1e-9, found


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_under_a_given_sigma_as_with_one_large_batch(digits, name):
    """Added up, where no part needs the whole batch; else as above."""
    bottleneck = families.FAMILIES[name]
    if bottleneck().whole_batch:
        found = compared(digits, bottleneck, lambda: Normal(0.3))
    else:
        found = compared_with_shared_draws(digits, bottleneck, lambda: Normal(0.3))
    assert found[0] < 1e-9, found


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_as_with_one_large_batch(digits, name):
    bottleneck, objective = OBJECTIVES[name]
    found = compared(digits, bottleneck, Normal, objective)
    assert found[0] < 1e-9, found
    found = compared_with_shared_draws(digits, bottleneck, lambda: Normal(0.3), objective)
    assert found[0] < 1e-9, found


@pytest.mark.parametrize(
    "likelihood",
    [lambda: Normal("learned"), Bernoulli, DiscretizedLogisticMixture, Categorical256],
    ids=["learned sigma", "bernoulli", "logistic mixture", "categorical"],
)
def test_every_likelihood_as_with_one_large_batch(digits, likelihood):
    assert not likelihood().whole_batch
    found = compared(digits, families.FAMILIES["vq ema"], likelihood)
    assert found[0] < 1e-9, found


@pytest.mark.parametrize("name", ["normal", "free bits", "categorical nvil", "vq ema", "residual"])
def test_in_float32_to_its_rounding(digits, name):
    """Not BatchTopK, whose choice jumps at a rounding: there float32 and float64 part, too."""
    found = compared(digits, families.FAMILIES[name], Normal, precision="32-true")
    assert found[0] < 1e-5, found


def test_beta_follows_the_whole_step_under_geco(digits):
    states = []
    for parts in (1, PARTS):
        geco = Geco(30.0, speed=1.0, decay=0.5)
        callbacks = [Sharing(1, parts), geco]
        state = trained(digits, lambda: Variational(3), parts, Normal(0.5), callbacks=callbacks)
        states.append(state | {"beta": torch.tensor(geco.state()["beta"])})
    assert difference(*states)[0] < 1e-9
    assert float(states[0]["beta"]) != 1


CUT = {
    "optimal sigma": (lambda: families.FAMILIES["plain"](), Normal, Normal),
    "free bits": (families.FAMILIES["free bits"], lambda: Normal(0.3), Variational),
    "nvil": (lambda: Categorical(4, 2, estimator=NVIL(8)), lambda: Normal(0.3), NVIL),
    "batch top-k": (families.FAMILIES["sparse batch top-k"], lambda: Normal(0.3), BatchTopK),
}


@pytest.mark.parametrize("name", CUT)
def test_without_the_declaration_a_part_sees_micro_batches(digits, name, monkeypatch):
    """So the equalities above are the mechanism's, and not for want of a difference."""
    bottleneck, likelihood, part = CUT[name]
    deaf = property(lambda self: False, lambda self, value: None)
    for place in {part, Categorical, nw.bottlenecks.SparseDictionary}:
        monkeypatch.setattr(place, "whole_batch", deaf)
    found = compared_with_shared_draws(digits, bottleneck, likelihood)
    assert found[0] > 1e-3, found


def test_encoder_and_decoder_hold_one_micro_batch_at_a_time(digits):
    rows = {"encoder": [], "decoder": []}

    class Watch(Callback):
        def begin(self, model, folder):
            for name, seen in rows.items():

                def note(module, given, seen=seen):
                    if module.training:
                        seen.append(len(given[0]))

                getattr(model, name).register_forward_pre_hook(note)

    for likelihood, passes in ((Normal(), 2), (Normal(0.3), 1)):
        trained(digits, lambda: Variational(3), PARTS, likelihood, callbacks=[Watch()])
        for seen in rows.values():
            assert seen == [BATCH // PARTS] * (8 * PARTS * passes)
            seen.clear()


def test_batch_norm_alone_sees_micro_batches(digits):
    """By convention; what it remembers, it remembers once for each."""
    network = ResNet(hidden=8)
    model = nw.Autoencoder.for_images(digits.shape, Variational(3), network=network)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert names
    whole, parts = (
        trained(digits, lambda: Variational(3), parts, Normal(), network=network)
        for parts in (1, PARTS)
    )
    for name in names:
        assert int(whole[f"{name}.num_batches_tracked"]) == 8
        assert int(parts[f"{name}.num_batches_tracked"]) == 8 * PARTS
    assert difference(whole, parts)[0] > 1e-3


def test_a_model_keeps_no_micro_batch_after_training(digits):
    torch.manual_seed(0)
    model = nw.Autoencoder.for_images(digits.shape, Variational(3), network=NETWORK)
    nw.fit(model, digits, epochs=1, batch_size=8, engine=Engine("cpu", accumulate=2), show=False)
    assert model.micro_batch is None
