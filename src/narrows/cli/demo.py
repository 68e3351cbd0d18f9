"""`narrows demo`: the main job on real digits, in under a minute."""

from collections.abc import Mapping
from pathlib import Path

from narrows.cli import parsing
from narrows.training.run import Run, fresh


def run(arguments: list[str]) -> None:
    """Trains four latents, prints the table, and says where the report is."""
    from narrows.compare.demo import demo

    parser = parsing.parser("demo", "Train four latents on scikit-learn's digits and compare them.")
    parser.add_argument("--out", type=str, default=None, help="folder; default demo, demo-2, ...")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batch order")
    config = parsing.parse(parser, arguments)
    path, _, runs = demo(Path(config.out or fresh("demo")), config.epochs, config.seed)
    print(table(runs))
    print(f"\nreport: {path}")
    print("next:")
    print("  narrows recipes")
    print("  narrows train vq --model.bottleneck.size 128")
    print(f"  narrows evaluate {path.parent / 'vq'}")


_COLUMNS: Mapping[str, str] = {
    "nmse": "NMSE",
    "psnr": "PSNR dB",
    "bits_per_example": "bits/image",
    "bits_per_dimension": "bits/dim",
    "usage": "usage",
    "perplexity": "perplexity",
    "l0": "L0",
    "active_units": "active units",
}


def table(runs: Mapping[str, Run]) -> str:
    """Test figures as text, units in the headings; bits/dim over channels * height * width."""
    head = ["test split", *_COLUMNS.values()]
    rows = [
        [name, *(f"{run.test[k]:.4g}" if k in run.test else "" for k in _COLUMNS)]
        for name, run in runs.items()
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(line))
        for line in (list(zip(row, widths, strict=True)) for row in [head, *rows])
    )
