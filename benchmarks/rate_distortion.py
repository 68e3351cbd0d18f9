"""Bits and distortion of every latent family under several priors, over seeds.

Same networks, same data, same number of epochs; only the bottleneck differs. Bits are measured
twice: the prior's cross-entropy on 1,000 test codes, and the size of a real file of these test
images (without its 49-byte header). Distortion is that of the decoded file.

What is there already is not done again, so a stopped run goes on where it was.

    NARROWS_DATA=FOLDER python benchmarks/rate_distortion.py run --data mnist --out results
    NARROWS_DATA=FOLDER python benchmarks/rate_distortion.py run --data cifar10 --out results
    python benchmarks/rate_distortion.py report --data mnist --out results
"""

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import narrows as nw
from narrows.bottlenecks import OMP, Identity, SparseDictionary, Variational, VectorQuantizer
from narrows.codec.container import overhead
from narrows.data.base import Dataset
from narrows.experiments.statistics import interval
from narrows.likelihoods import DiscretizedLogisticMixture
from narrows.networks import Conv
from narrows.priors import (
    CategoricalPrior,
    GaussianMixture,
    Prior,
    QuantizedHistogram,
    SparseFactorial,
    SparsePrior,
    fit_in_one_pass,
    fit_pixelcnn,
    fit_sparse,
)
from narrows.priors.fitting import bits, latents
from narrows.report import theme
from narrows.training.run import environment

FAMILIES = {
    "vq-64": lambda: VectorQuantizer(64, 16),
    "vq-512": lambda: VectorQuantizer(512, 16),
    "sparse": lambda: SparseDictionary(64, 16, OMP(2)),
    "plain": lambda: Identity(2),
    "vae": lambda: Variational(2),
    "vae-8bit": lambda: Variational(2),
}
FILES = 1000  # test images that are written to real files


def subset(name: str, train: int) -> Dataset:
    """The first examples of each split."""
    data = nw.data.load(name)
    return dataclasses.replace(
        data,
        train=data.train.head(train),
        validation=data.validation.head(2000),
        test=data.test.head(2000),
    )


def trained(family: str, data: Dataset, epochs: int, seed: int, folder: Path) -> nw.Autoencoder:
    """The model of a family and seed, from its folder or trained and put there."""
    if (folder / "model.json").is_file():
        return nw.Autoencoder.load(folder)
    torch.manual_seed(seed)
    likelihood = DiscretizedLogisticMixture(5) if family == "vae-8bit" else None
    network = Conv(32, residual_hidden=16)
    model = nw.Autoencoder.for_images(data.shape, FAMILIES[family](), network, likelihood)
    began = time.process_time()
    nw.fit(model, data, epochs=epochs, batch_size=128, seed=seed, show=False)
    print(f"trained {folder}: {time.process_time() - began:.0f} CPU seconds", flush=True)
    model.save(folder)
    return model


def plans(family: str, model: nw.Autoencoder, data: Dataset, epochs: int, seed: int):
    """Name and maker of every prior that is tried on a family."""
    sites = model.prior.sites

    def once(prior: Prior) -> Prior:
        return fit_in_one_pass(prior, model, data)

    if family.startswith("vq"):
        size = int(family.removeprefix("vq-"))
        yield "uniform", lambda: CategoricalPrior(size, sites)
        yield "histogram", lambda: once(CategoricalPrior(size, sites))
        yield (
            "PixelCNN",
            lambda: fit_pixelcnn(model, data, width=32, layers=4, epochs=epochs, seed=seed),
        )
    elif family == "sparse":
        for step in (0.5, 1.0, 2.0):
            yield f"factorial, step {step:g}", lambda s=step: once(SparseFactorial(sites, 64, s))
            yield f"supports, step {step:g}", lambda s=step: once(SparsePrior(sites, 64, s))
        yield (
            "tokens, step 1",
            lambda: fit_sparse(model, data, step=1.0, features=32, depth=1, epochs=2, seed=seed),
        )
    elif family in ("plain", "vae"):
        for part in (0.125, 0.25, 0.5, 1.0):
            yield (
                f"histogram, step {part:g} sd",
                lambda p=part: once(QuantizedHistogram(sites, 2, fraction=p)),
            )
            if family == "plain":  # of a variational code it would be the aggregate posterior's
                yield (
                    f"mixture, step {part:g} sd",
                    lambda p=part: once(GaussianMixture(sites, 2, 16, fraction=p)),
                )


def run(arguments: argparse.Namespace) -> None:
    """Everything that is missing, one row of a .jsonl file each."""
    data = subset(arguments.data, arguments.train)
    out = arguments.out / arguments.data
    out.mkdir(parents=True, exist_ok=True)
    rows = out / "rows.jsonl"
    (out / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")
    for seed in arguments.seeds:
        for family in arguments.families or FAMILIES:
            model = trained(family, data, arguments.epochs, seed, out / f"{family}-{seed}")
            done = {(r["family"], r["prior"], r["seed"]) for r in read(rows)}
            done |= {(family, name, seed) for name in arguments.without}
            for name, row in measured(family, model, data, arguments.epochs, seed, out, done):
                line = {"family": family, "prior": name, "seed": seed, **row}
                with rows.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


def read(path: Path) -> list[dict]:
    """The rows there are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measured(
    family: str,
    model: nw.Autoencoder,
    data: Dataset,
    epochs: int,
    seed: int,
    out: Path,
    done: set,
) -> Iterator[tuple[str, dict]]:
    """Name and figures of every prior not yet in `done`."""
    if family.startswith("vae") and (family, "KL", seed) not in done:
        yield "KL", bound(family, model, data, seed)
    for name, make in plans(family, model, data, epochs, seed):
        if (family, name, seed) in done:
            continue
        prior = make()
        row = measure(model, prior, data)
        if seed == 0:
            draw(model, prior, out / f"samples-{family}-{name}.pt")
        yield name, row


def draw(model: nw.Autoencoder, prior: Prior, path: Path) -> None:
    """12 samples of the prior, kept for the figure."""
    images = model.decode(prior.sample(12, torch.Generator().manual_seed(0)))
    torch.save((images.clamp(0, 1) * 255).round().byte(), path)


def measure(model: nw.Autoencoder, prior: Prior, data: Dataset) -> dict[str, float]:
    """Estimated and real bits, distortion of what the file decodes to."""
    codec = nw.codec.Codec(model, prior)
    images = data.test.images[:FILES]
    blob = codec.compress(images)
    decoded = codec.decompress(blob)
    report = getattr(prior, "report", None)
    return {
        "estimated_bits": bits(prior, latents(model, data.test.head(FILES))),
        "file_bits": 8 * (len(blob) - overhead(3)) / FILES,
        "fit_seconds": report.seconds if report else 0.0,
        **distortion(images, decoded, data),
    }


def bound(family: str, model: nw.Autoencoder, data: Dataset, seed: int) -> dict[str, float]:
    """KL of a variational model; for 8-bit likelihoods also lossless bits-back bytes."""
    head, images = data.test.head(FILES), data.test.images[:FILES]
    x = images.float() / 255
    torch.manual_seed(seed)
    kl = bits(model.prior, latents(model, head))
    with torch.no_grad():
        draw = torch.cat([model.decode(model.latent(p).posterior.sample()) for p in x.split(250)])
    row = {"estimated_bits": kl, **distortion(x, draw, data)}
    if family == "vae-8bit":
        codec = nw.codec.Codec(model, lossless=True)
        blob = codec.compress(images)
        row["lossless_file_bits"] = 8 * (len(blob) - overhead(3)) / FILES
        row["lossless_exact"] = bool(torch.equal(codec.decompress(blob), images))
        row["lossless_estimated_bits"] = kl + pixels(model, x)
    return row


@torch.no_grad()
def pixels(model: nw.Autoencoder, x: Tensor) -> float:
    """Mean bits of the image given a draw of its code, over 4 draws."""
    nats = 0.0
    for part in x.split(100):
        latent = model.latent(part)
        for _ in range(4):
            z = model.bottleneck.embed(latent.posterior.sample())
            nats -= float(model.likelihood.log_prob(part, model.decoder(z)).sum()) / 4
    return nats / len(x) / math.log(2)


def distortion(images: Tensor, decoded: Tensor, data: Dataset) -> dict[str, float]:
    """MSE over values in [0, 1], NMSE over the training data's variance, PSNR in dB."""
    a, b = ((t.float() / 255 if t.dtype == torch.uint8 else t) for t in (images, decoded))
    mse = float((a - b).square().mean())
    return {"mse": mse, "nmse": mse / data.variance, "psnr": -10 * math.log10(mse)}


CURVES = {
    "VQ, uniform": ("vq", "uniform"),
    "VQ, histogram": ("vq", "histogram"),
    "VQ, PixelCNN": ("vq", "PixelCNN"),
    "sparse, factorial": ("sparse", "factorial"),
    "sparse, support mixture": ("sparse", "supports"),
    "plain, histogram": ("plain", "histogram"),
    "plain, Gaussian mixture": ("plain", "mixture"),
    "variational, KL": ("vae", "KL"),
    "variational means, histogram": ("vae", "histogram"),
}
"""Label -> beginnings of family and prior."""


def report(arguments: argparse.Namespace) -> None:
    """The table, on paper; the figure, and the samples of the first seed, as pictures."""
    out = arguments.out / arguments.data
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in read(out / "rows.jsonl"):
        groups.setdefault((row["family"], row["prior"]), []).append(row)
    values = math.prod(nw.data.load(arguments.data).shape)
    print("| latent | prior | seeds | bits/image | in file | bits/dim | PSNR dB | NMSE |")
    print("|---|---|---|---|---|---|---|---|")
    for (family, prior), rows in sorted(groups.items(), key=lambda item: order(*item[0])):
        cells = [spread(rows, name, digits) for name, digits in COLUMNS]
        file = cells[1] if "file_bits" in rows[0] else ""
        per = f"{interval([r['estimated_bits'] for r in rows])[0] / values:.4f}"
        print(
            f"| {family} | {prior} | {len(rows)} | {cells[0]} | {file} | {per} | {cells[2]} | "
            f"{cells[3]} |"
        )
    for row in groups.get(("vae-8bit", "KL"), []):
        print("\nlossless:", {k: v for k, v in row.items() if k.startswith("lossless")})
    plot(groups, values, arguments.data, out / "figure.png")
    samples(out, out / "samples.png")


COLUMNS = (("estimated_bits", 1), ("file_bits", 1), ("psnr", 2), ("nmse", 4))


def order(family: str, prior: str) -> tuple:
    """VQ first, by number of codes; priors as in `CURVES`, steps ascending."""
    kinds = ["vq", "sparse", "plain", "vae"]
    stem, _, number = family.partition("-")
    names = [name for _, name in CURVES.values()]
    rank = next((i for i, name in enumerate(names) if prior.startswith(name)), len(names))
    return kinds.index(stem), int(number) if number.isdigit() else number == "8bit", rank, prior


def spread(rows: list[dict], name: str, digits: int) -> str:
    """Mean over seeds and half width of its 95 % interval."""
    if name not in rows[0]:
        return ""
    mean, half = interval([row[name] for row in rows])
    width = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{mean:.{digits}f}{width}"


def plot(groups: dict, values: int, data: str, path: Path) -> None:
    """PSNR against bits, means over seeds."""
    figure, axes = theme.new_figure(7.2, 5.0)
    for index, (label, (family, prior)) in enumerate(CURVES.items()):
        chosen = [
            rows
            for (one, name), rows in groups.items()
            if one.startswith(family) and one != "vae-8bit" and name.startswith(prior)
        ]
        points = sorted(
            (interval([r["estimated_bits"] for r in rows])[0] / values, *psnr(rows))
            for rows in chosen
        )
        if not points:
            continue
        x, y, half = zip(*points, strict=True)
        style = theme.series_style(index)
        axes.errorbar(x, y, half, label=label, linewidth=1.4, capsize=2, **style)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("bits per dimension (estimate; files agree)")
    axes.set_ylabel("PSNR, dB (mean squared error over 1,000 test images)")
    axes.set_title(f"{data}: lossy rate and distortion, bars 95 % over seeds", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def psnr(rows: list[dict]) -> tuple[float, float]:
    """Mean and half width, 0 for a single seed."""
    mean, half = interval([row["psnr"] for row in rows])
    return mean, 0.0 if math.isnan(half) else half


SHOWN = (
    "vq-512-uniform", "vq-512-histogram", "vq-512-PixelCNN", "vq-64-uniform", "vq-64-histogram",
    "vq-64-PixelCNN", "sparse-factorial, step 1", "sparse-supports, step 1",
    "plain-histogram, step 0.25 sd", "plain-mixture, step 0.25 sd", "vae-standard normal",
    "vae-histogram, step 0.25 sd",
)  # fmt: skip
"""Family and prior of which samples are shown, where there are any."""


def samples(folder: Path, path: Path) -> None:
    """A row of 10 samples for each prior, its name beside it."""
    vae = nw.Autoencoder.load(folder / "vae-0")
    draw(vae, vae.prior, folder / "samples-vae-standard normal.pt")
    rows = {
        name: torch.load(file, weights_only=True)[:10]
        for name in SHOWN
        if (file := folder / f"samples-{name}.pt").exists()
    }
    figure = Figure(figsize=(6.4, 0.5 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(
        figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=True
    ):
        strip = images.permute(2, 0, 3, 1).flatten(1, 2).numpy()
        axes.imshow(strip.squeeze(-1) if strip.shape[-1] == 1 else strip, cmap="gray")
        axes.set_axis_off()
        where = {"ha": "right", "va": "center", "fontsize": 8, "transform": axes.transAxes}
        axes.text(-0.01, 0.5, name, **where)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["run", "report"])
    parser.add_argument("--data", default="mnist", choices=["mnist", "cifar10"])
    parser.add_argument("--families", nargs="+", choices=FAMILIES)
    parser.add_argument("--train", type=int, default=20000, help="training images")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--without", nargs="+", default=[], help="priors that are left out")
    parser.add_argument("--out", type=Path, default=Path("rate-distortion"))
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.action](arguments)


if __name__ == "__main__":
    main()
