"""Which quantisers use 65,536 codes of features of width 8.

    NARROWS_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.large_codebooks [--ledger]

The features are those of a small autoencoder trained on MNIST, 7x7 sites an image, brought to mean
0 and variance 1. Each quantiser learns from the same batches of training features, the encoder at
rest; usage is the share of codes that the features of all 10,000 test images are given, and NMSE
their error over their variance. Rows with linear maps before and behind are `Projected`.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

import narrows as nw
from evidence.benchmarks import record
from narrows.bottlenecks.indexed import Indexed
from narrows.functional.usage import tally, usage

SIZE, DIM = 65_536, 8
FIRST, BATCH, STEPS = 2 * SIZE, 4096, 256
REVIVAL = 80  # updates in which a code would be used five times if all were used alike

Step = tuple[Tensor, Tensor, Tensor]
"""z, one code for each row, and what is minimised with the error."""


class Ours(nn.Module):
    """A bottleneck, updated by hand."""

    def __init__(self, bottleneck: nw.Bottleneck) -> None:
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, x: Tensor) -> Step:
        """Codes rows `[n, dim]`."""
        latent = self.bottleneck(x)
        weights = self.bottleneck.weights.items()
        loss = sum((w * latent.terms[name].mean() for name, w in weights), torch.zeros(()))
        if self.training:
            self.bottleneck.update([latent])
        return latent.z, self.number(latent.code), loss

    def number(self, code: Tensor) -> Tensor:
        """Two stages of 256 as one number."""
        return code[:, 0] * 256 + code[:, 1] if code.dim() == 2 else code


class Theirs(nn.Module):
    """A module of vector-quantize-pytorch, whose codes move in the forward pass."""

    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        import vector_quantize_pytorch as peer

        self.quantizer = getattr(peer, kind)(**options)

    def forward(self, x: Tensor) -> Step:
        """Codes rows `[n, dim]`."""
        z, code, *loss = self.quantizer(x[None])
        return z[0], code[0].long(), sum((each.sum() for each in loss), torch.zeros(()))


def ours(make: Callable[[], nw.Bottleneck]) -> Callable[[], nn.Module]:
    """Makes it when its turn comes."""
    return lambda: Ours(make())


def projected(make: Callable[[], Indexed]) -> Callable[[], nn.Module]:
    """Between linear maps."""
    return lambda: Ours(nw.Projected(make(), DIM))


def vq(learning: nw.CodebookLearning) -> Callable[[], nn.Module]:
    """Makes a vector quantiser that learns so."""
    return ours(lambda: nw.VectorQuantizer(SIZE, DIM, learning=learning))


fsq = partial(nw.FiniteScalarQuantizer, [4] * DIM)
CONTENDERS: dict[str, Callable[[], nn.Module]] = {
    "`VectorQuantizer`, gradient, no revival": vq(
        nw.CodebookLearning("gradient", "uniform", revive_after=None)
    ),
    "`VectorQuantizer`, start on data": vq(nw.CodebookLearning(revive_after=None)),
    "`VectorQuantizer`, start on data, revival": vq(nw.CodebookLearning(revive_after=REVIVAL)),
    "`SimVQ`": ours(partial(nw.SimVQ, SIZE, DIM)),
    "`VQBridge`": ours(partial(nw.VQBridge, SIZE, DIM)),
    "`FiniteScalarQuantizer`": projected(fsq),
    "`FiniteScalarQuantizer`, `Tanh(0.8)`": projected(partial(fsq, nw.Tanh(0.8))),
    "`FiniteScalarQuantizer`, `NormalCdf()`": projected(partial(fsq, nw.NormalCdf())),
    "`FiniteScalarQuantizer`, `noise=0.5`": projected(partial(fsq, noise=0.5)),
    "`LookupFreeQuantizer`": projected(partial(nw.LookupFreeQuantizer, 16)),
    "`ResidualQuantizer`, 2 stages of 256": ours(
        lambda: nw.ResidualQuantizer(nw.VectorQuantizer(256, DIM), 2)
    ),
    "peer's `VectorQuantize`, revival": lambda: Theirs(
        "VectorQuantize", dim=DIM, codebook_size=SIZE, threshold_ema_dead_code=0.05, decay=0.99
    ),
    "peer's `SimVQ`": lambda: Theirs("SimVQ", dim=DIM, codebook_size=SIZE),
    "peer's `FSQ`": lambda: Theirs("FSQ", levels=[4] * DIM),
    "peer's `LFQ`": lambda: Theirs("LFQ", dim=DIM, codebook_size=SIZE),
}


def features() -> tuple[Tensor, Tensor]:
    """Rows of training and of test images."""
    torch.manual_seed(0)
    data = nw.data.load("mnist")
    network = nw.networks.Conv(32, residual_hidden=16)
    model = nw.Autoencoder.for_images(data.shape, nw.Identity(DIM), network=network)
    images = data.train.batch(torch.arange(30_000))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(400):
        x = images[torch.arange(step * 64, step * 64 + 64) % len(images)]
        loss = model.loss(x)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.update(x, loss)
    held_out = data.test.batch(torch.arange(10_000))
    with torch.no_grad():
        rows = [
            torch.cat([model.eval().latent(part).z.reshape(-1, DIM) for part in set_.split(500)])
            for set_ in (images, held_out)
        ]
    mean, scale = rows[0].mean(0), rows[0].var(0).mean().sqrt()
    return (rows[0] - mean) / scale, (rows[1] - mean) / scale


def batches(rows: Tensor) -> Iterator[Tensor]:
    """The same for every contender."""
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        n = BATCH if step else FIRST
        yield rows[torch.randint(len(rows), (n,), generator=generator)]


def measure(module: nn.Module, train: Tensor, test: Tensor) -> dict[str, object]:
    """Trains one and counts its codes."""
    parameters = [*module.parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-3) if parameters else None
    parts = BATCH if isinstance(module, Theirs) else FIRST  # its distances are a whole matrix
    for x in batches(train):
        for part in x.split(parts):
            z, _, loss = module.train()(part)
            loss = loss + (z - part).square().sum(1).mean()
            if optimizer is not None and loss.requires_grad:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    counts, error = torch.zeros(SIZE, dtype=torch.int64), 0.0
    with torch.no_grad():
        for part in test.split(BATCH):
            z, code, _ = module.eval()(part)
            counts += tally(code, SIZE)
            error += float((z - part).square().sum())
    found = usage(counts)
    spread = float((test - test.mean(0)).square().sum())
    return {
        "usage": f"{found['usage']:.1%}".replace("%", " %"),
        "perplexity": round(found["perplexity"]),
        "test NMSE": float(f"{error / spread:.2g}"),
    }


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="contenders whose name has one of these words, by commas")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    train, test = features()
    print(f"{len(train):,} and {len(test):,} rows, {len(test.unique(dim=0)):,} unlike", flush=True)
    for name, make in CONTENDERS.items():
        if options.only and not any(word in name for word in options.only.split(",")):
            continue
        torch.manual_seed(0)
        figures = measure(make(), train, test)
        print(name, figures, flush=True)
        if options.ledger:
            record("large-codebooks", name, figures, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
