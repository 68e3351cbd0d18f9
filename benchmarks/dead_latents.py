"""Dead latents of sparse autoencoders where the inputs' mean is large beside their spread.

Vectors of `superposition` with ||mean|| / ||std|| = 0, 0.5, 5 and 15; a TopK autoencoder of 1,024
latents, 8 active, in a plain loop of 3,000 batches of 1,024. Narrows' layer centres by a running
mean; "without centring" holds that mean at 0. SAELens runs at its own trainer's defaults, in an
environment of its own (`--only saelens`). Dead: fires at none of 20,000 other vectors.
"""

import argparse
import importlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import narrows as nw
from evidence.benchmarks import record
from narrows.bottlenecks import AuxK, SparseDictionary, TopK, Untied
from narrows.data.loaders.superposition import Law, Superposition

SIZE, DIM, K, BATCH, STEPS, TRAINED, TESTED = 1024, 96, 8, 1024, 3000, 100_000, 20_000
OFFSETS = (0.0, 0.5, 5.0, 15.0)


class Uncentred(SparseDictionary):
    """One that never learns the mean of its inputs."""

    def update(self, *given: object) -> None:
        """Follows all but the centre."""
        super().update(*given)  # pyright: ignore[reportArgumentType]
        self.centre.zero_()


def batches(x: Tensor) -> Iterator[Tensor]:
    """For ever, drawn anew."""
    generator = torch.Generator().manual_seed(1)
    while True:
        yield x[torch.randint(len(x), (BATCH,), generator=generator)]


def ours(kind: type[SparseDictionary]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Trains a layer; which latents fire, and the reconstructions."""

    def run(x: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        coder = AuxK(Untied(TopK(K, refit=False, nonnegative=True)))
        layer = nw.Layer(kind(SIZE, DIM, coder=coder), axis=-1)
        optimizer = torch.optim.Adam(layer.parameters(), 2e-3)
        for _, batch in zip(range(STEPS), batches(x), strict=False):
            optimizer.zero_grad()
            layer(batch).loss.backward()
            optimizer.step()
        layer.eval()
        with torch.no_grad():
            z, code, _ = layer(held)
        return code.coefficients(SIZE) != 0, z

    return run


def saelens(x: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """The same by their trainer."""
    peer = importlib.import_module("sae_lens")
    training = importlib.import_module("sae_lens.training.sae_trainer")
    config = peer.TopKTrainingSAEConfig(d_in=DIM, d_sae=SIZE, k=K)
    given = importlib.import_module("sae_lens.config").SAETrainerConfig(
        total_training_samples=STEPS * BATCH, train_batch_size_samples=BATCH, lr_end=3e-5
    )
    trainer = training.SAETrainer(given, peer.TopKTrainingSAE(config), batches(x))
    made = trainer.fit().eval()
    with torch.no_grad():
        codes = made.encode(held)
        return codes != 0, made.decode(codes)


CONTENDERS = {
    "narrows": ours(SparseDictionary),
    "narrows, without centring": ours(Uncentred),
    "saelens": saelens,
}


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="contenders, with semicolons between")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    chosen = options.only.split(";") if options.only else ["narrows", "narrows, without centring"]
    for name in chosen:
        figures = {}
        for offset in OFFSETS:
            world = Superposition(SIZE, DIM, law=Law(offset=offset))
            x, held = (world.sample(n, seed=s).x for n, s in ((TRAINED, 5), (TESTED, 6)))
            torch.manual_seed(1000)
            fires, y = CONTENDERS[name](x, held)
            error = (held - y).square().sum() / (held - held.mean(0)).square().sum()
            dead = 1 - fires.any(0).double().mean().item()
            figures[f"dead at {offset:g}"] = float(f"{dead:.4g}")
            figures[f"explained at {offset:g}"] = float(f"{1 - error.item():.4g}")
        print(name, figures, flush=True)
        if options.ledger:
            record("dead-latents", name, figures, size=SIZE, dim=DIM, k=K, steps=STEPS)


if __name__ == "__main__":
    main()
