"""Your own training loop: `model.loss`, an optimiser of PyTorch's, and `model.update`.

With the batches and seeds of `nw.fit`, as here, it ends where that ends, bit for bit.
"""

import torch

import narrows as nw
from narrows.training import Constant, latents, seed_step


def train(model: nw.Autoencoder, data: nw.data.Dataset, *, epochs: int) -> None:
    """Trains a model; then its prior learns how often each code occurs."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    step = 0
    model.train()
    for epoch in range(epochs):
        for index in nw.data.batches(len(data.train), 64, epoch=epoch):
            seed_step(0, step)  # only for the random numbers that nw.fit draws
            x = data.train.batch(index)
            loss = model.loss(x)  # minimise .total; .nll, .rate and .terms are its parts
            loss.total.backward()
            optimizer.step()
            optimizer.zero_grad()
            model.update(x, loss)  # codebooks, scales, sigma: all that runs along
            step += 1
    model.eval()
    model.prior.fit(latents(model, data.train))


def untrained(data: nw.data.Dataset) -> nw.Autoencoder:
    """The same weights every time."""
    torch.manual_seed(0)
    network = nw.Conv(hidden=32, downsamplings=1)
    return nw.Autoencoder.for_images(data.shape, nw.VectorQuantizer(64, 16), network=network)


if __name__ == "__main__":
    data = nw.data.load("digits")
    model = untrained(data)
    train(model, data, epochs=5)
    x = data.test.batch(torch.arange(len(data.test)))
    nmse = nw.metrics.nmse(x, model.reconstruct(x), variance=data.variance)
    print(f"NMSE {nmse.mean():.3f}")
    plain = nw.Optimization(learning_rate=1e-3, schedule=Constant())
    run = nw.fit(untrained(data), data, epochs=5, optimization=plain, show=False)
    pairs = zip(model.parameters(), run.model.parameters(), strict=True)
    print(f"the weights of nw.fit: {all(torch.equal(own, fitted) for own, fitted in pairs)}")
