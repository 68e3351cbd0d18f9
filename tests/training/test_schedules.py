import json
import math

import pytest
import torch

import narrows as nw
from narrows.training import CyclicalBeta, Geco, LinearBeta


def model(sigma=0.2):
    torch.manual_seed(0)
    return nw.Autoencoder.for_vectors(
        6,
        nw.bottlenecks.Variational(3),
        network=nw.networks.Mlp((32,)),
        likelihood=nw.likelihoods.Normal(sigma),
    )


def test_linear_warm_up_rises_along_a_line_and_stays():
    schedule = LinearBeta(start=0.5, end=2.0, until=0.4)
    betas = [schedule.beta(t) for t in (0.0, 0.1, 0.2, 0.4, 0.9)]
    assert betas == pytest.approx([0.5, 0.875, 1.25, 2.0, 2.0])


def test_cyclical_beta_returns_to_zero_every_cycle_and_ends_at_its_largest():
    schedule = CyclicalBeta(cycles=4, rise=0.5, largest=2.0)
    for cycle in range(4):
        start = cycle / 4
        assert schedule.beta(start) == 0
        assert schedule.beta(start + 1 / 16) == pytest.approx(1.0)
        assert schedule.beta(start + 3 / 16) == 2.0
    assert schedule.beta(1.0) == 2.0


def test_schedules_set_the_model_s_beta_in_training():
    data = nw.data.load("digits")
    subject = nw.Autoencoder.for_images(
        data.shape, nw.bottlenecks.Variational(2), network=nw.networks.Mlp((16,)), beta=7.0
    )
    run = nw.fit(subject, data, epochs=2, callbacks=[LinearBeta(until=0.5)], show=False)
    assert run.model.beta == 1.0


def train(subject, geco, steps=1500, batch=64):
    optimizer = torch.optim.Adam(subject.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 6, generator=generator)
    subject.train()
    tail = []
    for step in range(steps):
        x = torch.randn(batch, 3, generator=generator) @ mixing
        geco.before_step(subject, step / steps)
        loss = subject.loss(x)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        geco.after_step(subject, loss)
        if step >= steps - 300:
            tail.append(float(loss.nll.mean().detach()))
    return sum(tail) / len(tail)


@pytest.mark.parametrize("target", [3.0, 0.0])
def test_geco_reaches_the_distortion_that_was_asked_for(target):
    subject = model(sigma=0.3)
    assert train(subject, Geco(target, speed=0.05)) == pytest.approx(target, abs=0.5)
    assert 1e-4 < subject.beta < 1e4


def test_geco_moves_beta_the_way_the_constraint_points():
    subject = model().train()
    loss = subject.loss(torch.randn(8, 6))
    nll = float(loss.nll.mean().detach())
    for target, sign in ((nll + 1, 1), (nll - 1, -1)):
        geco = Geco(target)
        subject.beta = 1.0
        geco.before_step(subject, 0.0)
        geco.after_step(subject, loss)
        assert math.copysign(1, subject.beta - 1) == sign
        assert subject.beta == pytest.approx(math.exp(sign * 0.1 / 6), rel=1e-5)


def test_geco_goes_on_from_its_state_as_if_it_had_not_stopped():
    subject = model().train()
    loss = subject.loss(torch.randn(8, 6))
    geco = Geco(1.0)
    for _ in range(3):
        geco.before_step(subject, 0.0)
        geco.after_step(subject, loss)
    twin = Geco(1.0)
    twin.restore(json.loads(json.dumps(geco.state())))
    geco.before_step(subject, 0.0)
    geco.after_step(subject, loss)
    expected = subject.beta
    subject.beta = 99.0
    twin.before_step(subject, 0.0)
    twin.after_step(subject, loss)
    assert subject.beta == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearBeta(until=0.0),
        lambda: LinearBeta(start=-1.0),
        lambda: CyclicalBeta(cycles=0),
        lambda: CyclicalBeta(rise=1.5),
        lambda: Geco(math.inf),
        lambda: Geco(1.0, bounds=(2.0, 1.0)),
    ],
)
def test_meaningless_arguments_are_refused(make):
    with pytest.raises(ValueError, match=r"got"):
        make()
