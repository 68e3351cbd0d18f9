"""`narrows demo`: the main job on real digits, in under a minute."""

from pathlib import Path

from narrows.cli import parsing
from narrows.training.run import fresh


def run(arguments: list[str]) -> None:
    """Trains four latents, prints the table, and says where the report is."""
    from narrows.compare.demo import demo
    from narrows.report import Column, Table

    parser = parsing.parser("demo", "Train four latents on scikit-learn's digits and compare them.")
    parser.add_argument("--out", type=str, default=None, help="folder; default demo, demo-2, ...")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training digits")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batch order")
    config = parsing.parse(parser, arguments)
    out = Path(config.out or fresh("demo"))
    path, runs = demo(out, epochs=config.epochs, seed=config.seed)
    columns = {
        "nmse": Column("NMSE", digits=4),
        "psnr": Column("PSNR dB", digits=4),
        "bits_per_example": Column("bits/image", digits=4),
        "bits_per_dimension": Column("bits/dim", digits=4),
        "usage": Column("usage", digits=4),
        "perplexity": Column("perplexity", digits=4),
        "l0": Column("L0"),
        "active_units": Column("active units"),
    }
    rows = {name: run.test for name, run in runs.items()}
    print(Table("", columns, rows, corner="test split").text())
    print(f"\nreport: {path}")
    print("next:")
    print("  narrows recipes")
    print("  narrows train vq --model.bottleneck.size 128")
    print(f"  narrows evaluate {path.parent / 'vq'}")
