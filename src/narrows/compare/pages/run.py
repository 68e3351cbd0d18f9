"""The page about one or several runs on the same data, one seed each."""

from collections.abc import Mapping
from pathlib import Path

from narrows.compare.pages import gallery
from narrows.data.dataset import Dataset
from narrows.report import Column, Page, Section, Table, labelled, rate_distortion
from narrows.saving.trust import trust_options
from narrows.training import Run
from narrows.training.run import environment

Figures = Mapping[str, float]

COLUMNS: Mapping[str, Column] = {
    "nmse": Column("NMSE", "MSE / variance of training values"),
    "psnr": Column("PSNR", "dB"),
    "snr": Column("SNR", "dB; variance of training values / MSE"),
    "bits_per_example": Column("rate", "bits per example"),
    "bits_per_dimension": Column("rate", "bits per dimension (C*H*W)"),
    "lsd": Column("log-spectral distance", "dB"),
    "bits_per_second": Column("rate", "bits per second"),
    "nll": Column("-log p(x|z)", "nats per example"),
    "usage": Column("codes used", "fraction"),
    "perplexity": Column("perplexity", "codes"),
    "l0": Column("L0", "active atoms per site"),
    "active_units": Column("active units", "of each site"),
    "parameters": Column("parameters", ""),
    "images_per_second": Column("speed", "reconstructions per second"),
}

CONVENTION = (
    "Rate conventions. Codes of a quantiser: -log2 of the histogram fitted to training codes. "
    "Plain and sparse codes: rounded to a stated step after training, then the same; distortion "
    "is measured after rounding. Latents with a posterior: KL(q || p), which bits-back coding "
    "attains for a draw from q, so distortion is that of a draw. Distortion is never compared "
    "with a rate it was not bought with."
)


def write(
    path: Path,
    title: str,
    *,
    data: Dataset,
    runs: Mapping[str, Run],
    command: str,
    figures: Mapping[str, Figures] | None = None,
) -> Path:
    """Writes the page of runs on one data set, and its main pictures beside it.

    Args:
        path: the HTML file.
        title: of the page.
        data: what all runs were trained on.
        runs: label -> finished run.
        command: what to type to get this page again.
        figures: test figures by label; by default those of the runs.
    """
    figures = {name: in_seconds(f, data) for name, f in (figures or test_figures(runs)).items()}
    models = {name: run.model for name, run in runs.items()}
    if gallery.shows_images(data):
        rows = gallery.reconstructions(models, gallery.held_out(data, gallery.COLUMNS))
        labelled(rows).save(path.parent / "reconstructions")
        for name, model in models.items():
            stem = f"samples-{name}" if len(runs) > 1 else "samples"
            gallery.samples(name, model).save(path.parent / stem)
    histories = {name: run.history for name, run in runs.items()}
    pictures = gallery.sections(data, models, histories=histories, only=gallery.MAIN)
    return Page(
        title,
        answer(figures),
        [*figure_sections(data, figures), *pictures],
        warnings=[f"{name}: {sentence}" for name, run in runs.items() for sentence in run.advice],
        commands=[command],
        versions=versions(),
    ).write(path)


def write_one(run: Run, data: Dataset, *, folder: Path) -> Path:
    """Writes `report.html` of a single run to its folder."""
    name = type(run.model.bottleneck).__name__
    command = f"narrows train {folder / 'config.yaml'}{trust_options(folder)}"
    title, path = f"{name} on {data.name}", folder / "report.html"
    return write(path, title, data=data, runs={name: run}, command=command)


def versions() -> dict[str, object]:
    """What made a page: packages, Python, the machine."""
    facts = environment()
    return {**facts["versions"], **{k: facts[k] for k in ("python", "processor", "cores")}}


def test_figures(runs: Mapping[str, Run]) -> dict[str, dict[str, float]]:
    """Test figures and number of parameters, by label."""
    return {
        name: {**run.test, "parameters": float(sum(p.numel() for p in run.model.parameters()))}
        for name, run in runs.items()
    }


def in_seconds(figures: Figures, data: Dataset) -> Figures:
    """The figures of sound, with the rate in bits per second where there is one."""
    if data.rate is None or "bits_per_example" not in figures:
        return figures
    seconds = data.shape[-1] / data.rate
    return {**figures, "bits_per_second": figures["bits_per_example"] / seconds}


def figure_sections(data: Dataset, figures: Mapping[str, Figures]) -> list[Section]:
    """The table, and the plot of distortion against bits."""
    caption = f"{data.name}, {len(data.test)} held-out examples, one seed"
    table = Table.of(caption, COLUMNS, rows=figures)
    found = [Section("Figures on the test split", [table, CONVENTION])]
    points = {
        name: [(f["bits_per_dimension"], f["nmse"])]
        for name, f in figures.items()
        if "bits_per_dimension" in f
    }
    if points:
        plot = rate_distortion(points, caption="Test split.")
        found.append(Section("Distortion against bits", [plot]))
    return found


def answer(models: Mapping[str, Figures]) -> list[str]:
    """Sentences on which model gives what, and which has fewer bits and less distortion.

    Rates differ between models, so a lower distortion alone says nothing.

    Args:
        models: label -> test figures with `nmse` and, where there is one, a rate in
            `bits_per_dimension`.
    """
    rated = {name: f for name, f in models.items() if "bits_per_dimension" in f}
    listed = sorted(rated, key=lambda name: rated[name]["bits_per_dimension"])
    sentences = []
    if listed:
        described = "; ".join(
            f"{name} {rated[name]['nmse']:.3g} at {rated[name]['bits_per_dimension']:.2f}"
            for name in listed
        )
        sentences.append(
            f"NMSE of held-out images at the rate each model needs, in bits per dimension: "
            f"{described}."
        )
    sentences += [said for name in listed if (said := _beaten(name, rated))]
    if len(listed) > 1 and len(sentences) == 1:
        sentences.append(
            "On this seed each model with less distortion needs more bits. "
            "To choose at equal rate, sweep each model's size and compare the curves."
        )
    unrated = [name for name in models if name not in rated]
    if unrated:
        sentences.append(f"Without a rate, and so not compared: {', '.join(unrated)}.")
    return sentences


def _beaten(name: str, models: Mapping[str, Figures]) -> str:
    """Which model has fewer bits and less distortion than this one, in words."""
    bits, error = models[name]["bits_per_dimension"], models[name]["nmse"]
    better = {
        other: f for other, f in models.items() if f["nmse"] < error
        and f["bits_per_dimension"] < bits
    }  # fmt: skip
    if not better:
        return ""
    best, figures = min(better.items(), key=lambda item: item[1]["nmse"])
    return (
        f"On this seed {best} has {bits / figures['bits_per_dimension']:.2g} times fewer bits and "
        f"{error / figures['nmse']:.2g} times less distortion than {name}; one seed has no "
        "interval, so chance is not excluded."
    )
