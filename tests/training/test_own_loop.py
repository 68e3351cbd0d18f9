"""A plain PyTorch loop with `model.update` is `nw.fit`, bit for bit."""

import pytest
import torch

import narrows as nw

EPOCHS, BATCH, SEED = 2, 64, 3


def vector_quantiser():
    return nw.bottlenecks.VectorQuantizer(16, 8)


def sparse():
    return nw.bottlenecks.SparseDictionary(
        32, 8, coder=nw.bottlenecks.Lasso(0.3, refit=False), target_l0=2.0
    )


def variational():
    return nw.bottlenecks.Variational(4)


def model_of(make, data):
    torch.manual_seed(SEED)
    return nw.Autoencoder.for_images(
        data.shape, make(), network=nw.networks.Conv(hidden=8, downsamplings=1)
    )


def own_loop(model, data, accumulate=1):
    """What README shows, with the batch order and the draws of `nw.fit`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    step = 0
    for epoch in range(EPOCHS):
        for index in nw.data.batches(len(data.train), BATCH * accumulate, seed=SEED, epoch=epoch):
            nw.training.seed_step(SEED, step)
            batches = [data.train.batch(rows) for rows in index.split(BATCH)]
            losses = [model.loss(x) for x in batches]
            for x, loss in zip(batches, losses, strict=True):
                (loss.total * (len(x) / len(index))).backward()
            optimizer.step()
            optimizer.zero_grad()
            model.update(batches, losses)
            step += 1


@pytest.fixture(scope="module")
def digits():
    return nw.data.load("digits", train_examples=300)


@pytest.mark.parametrize("make", [vector_quantiser, sparse, variational])
def test_an_own_loop_ends_with_the_weights_of_fit(make, digits):
    ours, own = model_of(make, digits), model_of(make, digits)
    nw.fit(
        ours, digits, epochs=EPOCHS, batch_size=BATCH, seed=SEED, show=False,
        optimization=nw.training.Optimization(
            learning_rate=1e-3, schedule=nw.training.Constant()
        ),
    )  # fmt: skip
    own_loop(own, digits)
    expected = ours.state_dict()
    for name, value in own.state_dict().items():
        if not name.startswith("prior."):  # fitted once, after the last epoch
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("make", [vector_quantiser, variational])
def test_without_the_update_the_weights_differ(make, digits, monkeypatch):
    own, lazy = model_of(make, digits), model_of(make, digits)
    own_loop(own, digits)
    monkeypatch.setattr(nw.Autoencoder, "update", lambda *_: None)
    own_loop(lazy, digits)
    assert any(
        not torch.equal(value, own.state_dict()[name]) for name, value in lazy.state_dict().items()
    )


def test_micro_batches_update_once_for_the_step(digits):
    model = model_of(vector_quantiser, digits)
    own_loop(model, digits, accumulate=2)
    steps = EPOCHS * (len(digits.train) // (2 * BATCH))
    assert int(model.bottleneck.codebook.updates) == steps


def test_losses_that_do_not_pair_with_batches_are_refused(digits):
    model = model_of(vector_quantiser, digits).train()
    x = digits.train.batch(torch.arange(8))
    loss = model.loss(x)
    with pytest.raises(ValueError, match="2 batches and 1 losses"):
        model.update([x, x], [loss])
