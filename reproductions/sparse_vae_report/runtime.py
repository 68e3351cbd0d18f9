"""Does the sparse code cost ten times the time?"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from narrows.autoencoder import Autoencoder
from narrows.likelihoods import Normal
from narrows.networks import ResNet
from narrows.tasks import Call, Result
from narrows.training import Constant, Optimization
from reproductions.claim import Claim, Evidence, Hypothesis, Plain, Scale, ratios
from reproductions.figures import dots
from reproductions.sparse_vae_report.as_written import StepsTwice
from reproductions.sparse_vae_report.models import bottleneck
from reproductions.training import subset, whole

TIMED = ("VQ as written", "sparse as written", "VQ", "sparse")


def step_times(
    folder: Path, *, hidden: int, codes: int, atoms: int, batch_size: int, rounds: int
) -> Result:
    """Seconds of a training step of each model, `rounds` times in turns.

    On a CPU seconds that the process computed, which other work does not change; on a GPU wall
    clock between synchronisations.
    """
    del folder
    torch.manual_seed(0)
    steps = {kind: _step(kind, hidden, codes, atoms, batch_size) for kind in TIMED}
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {kind: [] for kind in TIMED}
    for _ in range(rounds):
        for kind, step in steps.items():
            began = _clock()
            step()
            times[kind].append(_clock() - began)
    return {kind: np.array(values) for kind, values in times.items()}


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _step(kind: str, hidden: int, codes: int, atoms: int, batch_size: int) -> Callable[[], None]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = subset("digits", batch_size, 1)
    large: Tensor = torch.nn.functional.interpolate(whole(data.train), (32, 32))
    x = large.repeat(1, 3, 1, 1).to(device)
    shape = (3, 32, 32)
    latent = bottleneck(kind, shape, hidden, codes, atoms)
    model = Autoencoder(
        shape, latent, network=ResNet(hidden, bounded=True), likelihood=Normal(0.70711)
    )
    model.to(device).train()
    rule = StepsTwice if kind == "sparse as written" else Optimization
    optimizer = rule(learning_rate=1e-4, schedule=Constant()).optimizer(model)

    def step() -> None:
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.total.backward()
        optimizer.step()
        model.bottleneck.update([loss.latent])

    return step


def times(evidence: Evidence, kind: str) -> list[float]:
    """Seconds of each turn."""
    return [float(value) for value in evidence.array(kind)]


def claim(suffix: str, what: str) -> Claim:
    """For the pair of models with this suffix to their names."""
    return Claim(
        name="ten-times-run-time" + ("-as-written" if suffix else ""),
        document="000",
        ours=not suffix,
        place="conclusion, second paragraph",
        says=f"The sparse code makes a training step ten times as long ({what}).",
        hypotheses=(
            Hypothesis(
                f"time of a training step, sparse over VQ, {what} (tenfold within a factor of two)",
                "above",
                5.0,
                lambda e: ratios(times(e, f"sparse{suffix}"), times(e, f"VQ{suffix}")),
            ),
        ),
        trials=_trials,
        figures=lambda e: [
            dots(
                {kind: [1e3 * value for value in times(e, kind)] for kind in TIMED},
                quantity="ms per training step", caption="Measured in turns.", logarithmic=True,
            )
        ],
        minutes=0.5,
        notes=(
            "At the default size the network has 64 channels, 256 codes and as many atoms at a "
            "batch of 64, not 256, 512 and 128. The interval is over turns.",
        ),
    )  # fmt: skip


def _trials(scale: Scale) -> list[Call]:
    arguments: dict[str, Plain] = {
        "hidden": scale.pick(4, 64, 256),
        "codes": scale.pick(16, 256, 512),
        "atoms": scale.pick(16, 256, 512),
        "batch_size": scale.pick(8, 64, 128),
        "rounds": scale.pick(2, 5, 7),
    }
    return [Call(step_times, arguments)]


CLAIMS = (claim(" as written", "as written"), claim("", "four atoms a site by pursuit"))
