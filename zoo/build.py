"""Trains the models of the zoo by their exact commands, and stores them with card and checksums.

    OMP_NUM_THREADS=1 python -m zoo.build [NAME...] [--runs runs/zoo]
    python -m zoo.build [NAME...] --ledger    # what is listed, once it is committed

A model whose run is finished is not trained again, so that the command goes on where it stopped.
Sound needs the Debian package asterisk-core-sounds-en-wav, MNIST and CIFAR-10 a data root.
Figures are those of the stored model, with the prior that is in it, on the test split.
"""

import argparse
import dataclasses
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import narrows as nw
from evidence.benchmarks import record
from narrows import zoo
from narrows.hub import CARD, card
from narrows.saving.model import FILES, MODEL
from narrows.saving.trust import read_configuration
from narrows.saving.writing import file_checksum, read_json, write_json, write_text
from narrows.training.evaluation import evaluate
from narrows.training.run import environment
from narrows.zoo.catalogue import INDEX, ROOM, read

ROOT = Path(__file__).parents[1]
IN_WHEEL = ("digits-sparse-topk", "digits-vae", "digits-vq")
SMALL = (
    "--model.network.hidden {} --model.network.residual_hidden {} --model.network.downsamplings {}"
)
BITS = "--fit.rate narrows.training.Rate --fit.rate.bits_per_dim"
DIGITS, MNIST, CIFAR10 = (
    f"--data {data} {SMALL.format(*sizes)}"
    for data, sizes in (
        ("digits", (24, 12, 1)), ("mnist", (20, 12, 2)), ("cifar10", (28, 14, 2)),
    )
)  # fmt: skip
STAGE = "--model.bottleneck.stage.init_args"
PROMPTS = "/usr/share/asterisk/sounds/en_US_f_Allison"


@dataclass(frozen=True)
class Made:
    """How a model comes about.

    Attributes:
        about: its latent, and what it is there to show.
        train: the words of `narrows train`.
        prior: those of `narrows prior`, if it gets one of its own.
        use: when to take it, and when not.
    """

    about: str
    train: str
    prior: str
    use: str


MODELS: Mapping[str, Made] = {
    "digits-vq": Made(
        "Vector quantisation: one of 64 codewords a site; its prior, a PixelCNN, completes codes",
        f"vq-entropy {DIGITS} --model.bottleneck.size 64 --model.bottleneck.dim 8 {BITS} 1.0 "
        "--epochs 80",
        "--kind pixelcnn --width 12 --prior-options.layers 3 --prior-options.kernel 3",
        "to see what a codeword is, and to complete a code from its first half",
    ),
    "digits-vae": Made(
        "Variational: four normal numbers a site",
        f"vae {DIGITS} {BITS} 1.0 --epochs 80",
        "",
        "to move continuous numbers and walk between two digits; its draws are no digits, as "
        "sites are drawn independently",
    ),
    "digits-sparse-topk": Made(
        "Sparse dictionary: at most two of 64 atoms a site, each only where it is worth its bits",
        f"sparse-topk {DIGITS} --model.bottleneck.size 64 --model.bottleneck.dim 16 "
        f"--model.bottleneck.coder.k 2 {BITS} 2.5 --epochs 80",
        "",
        "to see atoms switched on and off; it needs more bits than its neighbours",
    ),
    "digits-fsq": Made(
        "Finite scalar quantisation: four, four and four levels a site, no codebook",
        f"fsq {DIGITS} --model.bottleneck.levels [4,4,4] {BITS} 1.0 --epochs 80",
        "",
        "to see a code whose numbers have an order",
    ),
    "mnist-vae-laplace": Made(
        "Variational with a Laplace prior: four numbers a site, many near 0",
        f"vae-laplace {MNIST} {BITS} 0.2 --epochs 4",
        "",
        "beside digits-vae, for what another prior does; not for its samples",
    ),
    "mnist-rounded": Made(
        "Rounded numbers that are trained for the bits of their file",
        f"rounded {MNIST} {BITS} 0.2 --epochs 4",
        "",
        "to compress digits into files whose bits it was trained for",
    ),
    "mnist-categorical": Made(
        "Categorical: two variables of 16 values a site, by Gumbel-softmax",
        f"categorical-gumbel {MNIST} {BITS} 0.2 --fit.callbacks [] --epochs 4",
        "",
        "where a random discrete code is wanted",
    ),
    "cifar10-vq-fast": Made(
        "Vector quantisation: one of 512 codewords for 4 x 4 pixels, 576 bits an image",
        f"vq-fast {CIFAR10} --model.bottleneck.dim 16 --fit.engine null --epochs 6",
        "",
        "as a tokeniser to try things with: 64 tokens an image",
    ),
    "cifar10-rvq": Made(
        "Residual quantisation: four stages of 256 codewords, coarse to fine",
        f"rvq {CIFAR10} {STAGE}.size 256 {STAGE}.dim 16 {BITS} 0.5 --epochs 5",
        "",
        "to see what each stage adds",
    ),
    "cifar10-rounded-hyper": Made(
        "Rounded numbers whose means and scales a small side code tells, its bits counted",
        f"rounded-hyper {CIFAR10} --model.bottleneck.dim 8 {BITS} 0.5 --epochs 5",
        "",
        "to compress small photographs into files whose bits it was trained for",
    ),
    "cifar10-sparse-lasso": Made(
        "Sparse dictionary: few of 256 atoms a site by the lasso, values refitted",
        f"sparse-lasso {CIFAR10} --data-options.train_examples 12000 --model.bottleneck.dim 16 "
        f"{BITS} 1.0 --epochs 6",
        "",
        "to see parts of photographs as atoms; not where bits are scarce",
    ),
    "speech-rvq": Made(
        "Residual quantisation of sound: three stages of 256 codewords for 64 samples at 8,000 Hz",
        f"speech-rvq --data audio:{PROMPTS} {SMALL.format(24, 12, 6)} {STAGE}.dim 16 "
        "--model.bottleneck.stages 3 --epochs 5",
        "",
        "to hear what a code loses; one speaker, telephone prompts",
    ),
}  # fmt: skip


def commands(name: str, runs: Path = Path("runs/zoo")) -> list[str]:
    """The commands that make a model, as one types them."""
    made, run = MODELS[name], runs / name
    found = [f"narrows train {made.train} --out {run}"]
    return found + ([f"narrows prior {run} {made.prior}"] if made.prior else [])


def trained(name: str, runs: Path) -> nw.training.Run:
    """The run of a model, with its own prior; trained if it is not there."""
    run = runs / name
    kind = MODELS[name].prior.split()[1:2]
    folder = run / "priors" / kind[0] if kind else run
    for command, done in zip(
        commands(name, runs), (run / "metrics.json", folder / MODEL), strict=False
    ):
        if not done.is_file():
            subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)
    return dataclasses.replace(nw.training.Run.load(run), model=nw.Autoencoder.load(folder))


def store(name: str, run: nw.training.Run) -> dict[str, object]:
    """Writes a model's folder; returns its row of the list."""
    folder = (ROOM if name in IN_WHEEL else ROOT / "zoo") / name
    assert run.folder is not None
    options = read_configuration(run.folder / "config.yaml").get("data_options") or {}
    data = nw.data.load(run.data, **options)
    figures = evaluate(run.model, data.test, variance=data.variance)
    run = dataclasses.replace(run, test=figures)
    parts = read_json(run.model.save(folder) / MODEL, "")
    made, done = MODELS[name], commands(name)
    notes = [
        f"{made.about}.", f"Take it {made.use}.", f"Trained on {data.name}: {data.note}.",
        "Made by\n\n" + "\n".join(f"    {command}" for command in done),
        "with " + ", ".join(f"{k} {v}" for k, v in environment()["versions"].items()) + ".",
    ]  # fmt: skip
    write_text(folder / CARD, card(parts, name, run=run, use=f'nw.zoo.load("{name}")', notes=notes))
    stored = {file: (folder / file) for file in (*FILES, CARD)}
    return {
        "about": made.about, "source": run.data, "options": options, "commands": done,
        "figures": figures,
        "files": {f: [file_checksum(p), p.stat().st_size] for f, p in stored.items()},
    }  # fmt: skip


def row(entry: zoo.Entry) -> dict[str, object]:
    """What the ledger keeps of a model, and its table shows."""
    f = entry.figures
    return {
        "data": entry.source.partition(":")[0] if ":" not in entry.source else "speech",
        "bits a dimension": float(f"{f['bits_per_dimension']:.3g}"),
        "NMSE": float(f"{f['nmse']:.3g}"),
        "dB": float(f"{f.get('psnr', f.get('snr', 0)):.4g}"),
        "kB": round(entry.kilobytes),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Trains, stores and lists; or appends what is listed to the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that there are")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs/zoo", help="folder of the runs")
    parser.add_argument("--ledger", action="store_true", help="append what is listed")
    options = parser.parse_args(words)
    index = ROOM / INDEX
    for name in options.names or MODELS:
        if not options.ledger:
            listed = read_json(index, "") if index.is_file() else {}
            listed[name] = store(name, trained(name, options.runs))
            write_json(index, dict(sorted(listed.items())))
        (entry,) = [one for one in read(index) if one.name == name]
        print(name, row(entry))
        if options.ledger:
            model = entry.files[MODEL][0]  # which has the checksum of the weights in it
            record("zoo", name, row(entry), commands=entry.commands, model=model)


if __name__ == "__main__":
    main()
