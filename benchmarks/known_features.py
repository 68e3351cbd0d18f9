"""Which sparse autoencoders find the features of a set whose features are known.

Vectors of `superposition`: sums of 8 of 1,024 features in 96 dimensions, correlated in groups,
with hierarchy and noise. Every contestant has 1,024 latents of which 8 are active, the same
batches, and as many steps. Held against the truth: MCC, F1 and uniqueness (`nw.metrics.recovery`),
beside what is explained, L0 and the share of dead latents (`nw.metrics.firing`).
"""

import argparse
import time
from pathlib import Path

import torch
import yaml

import narrows as nw
from evidence.benchmarks import record
from narrows.cli.recipes import find
from narrows.data.dataset import Dataset
from narrows.data.loaders.superposition import Superposition
from narrows.metrics import directions, firing, recovery
from narrows.metrics.features.firing import coded
from narrows.networks import Direct
from narrows.recorded import build
from narrows.training import Frozen, OneCycle, Optimization

SIZE, DIM, TESTED = 1024, 96, 4000
RECIPES = (
    "sae-topk", "sae-batchtopk", "sae-matryoshka", "sae-relu", "sae-jumprelu", "sae-gated",
    "sae-omp", "sae-random",
)  # fmt: skip


def bottleneck(recipe: str) -> nw.Bottleneck:
    """The recipe's, with as many latents and dimensions as the truth has."""
    described = yaml.safe_load(Path(find(recipe)).read_text())["model"]["bottleneck"]
    described["init_args"] |= {"size": SIZE, "dim": DIM}
    made = build(described)
    assert isinstance(made, nw.Bottleneck)
    return made


def measure(recipe: str, data: Dataset, seed: int, epochs: int) -> dict[str, float]:
    """Trains one model and holds it against the truth."""
    began = time.perf_counter()
    torch.manual_seed(1000 + seed)  # with 0 an encoder would be drawn as the truth is
    model = nw.Autoencoder(data.shape, bottleneck(recipe), network=Direct())
    nw.fit(
        model, data, epochs=epochs, batch_size=256, seed=seed, show=False,
        optimization=Optimization(2e-3, clip=1.0, schedule=OneCycle()),
        callbacks=[Frozen()] if recipe == "sae-random" else [],
    )  # fmt: skip
    world = Superposition(SIZE, DIM)
    x, true = world.sample(TESTED, seed=10**6)
    fired, found = firing(model, x), list(coded(model, x))
    code = type(found[0][2])(*(torch.cat(parts) for parts in zip(*(c for *_, c in found))))  # noqa: B905
    atoms = directions(model, atoms=range(SIZE))
    truth = recovery(atoms, world.features, code=code, true_code=true)
    return {
        "MCC": truth.mcc, "F1": truth.f1, "uniqueness": truth.uniqueness,
        "variance explained": fired.explained, "L0": fired.l0, "dead": fired.dead,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    parser.add_argument("--epochs", type=int, default=20, help="of 48,000 vectors")
    parser.add_argument("--only", default=",".join(RECIPES), help="recipes, with commas between")
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    data = nw.data.load("superposition")
    for recipe in options.only.split(","):
        runs = [measure(recipe, data, seed, options.epochs) for seed in range(options.seeds)]
        figures = {name: [float(f"{run[name]:.4g}") for run in runs] for name in runs[0]}
        print(recipe, figures, flush=True)
        if options.ledger:
            of = f"`{recipe}`"
            record("known-features", of, figures, epochs=options.epochs, size=SIZE, dim=DIM)


if __name__ == "__main__":
    main()
