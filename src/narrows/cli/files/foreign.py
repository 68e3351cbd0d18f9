"""`narrows import FOLDER`: a sparse autoencoder of another library as a run's folder."""

from pathlib import Path

from narrows.cli import parsing


def import_(arguments: list[str]) -> None:
    """Writes the folder, and prints what was read and what to do next."""
    parser = parsing.parser(
        "import",
        "Make a run's folder of a sparse autoencoder that another library wrote, so that every "
        "command takes it. FOLDER has cfg.json and sae_weights.safetensors (SAELens), or "
        "config.json and ae.pt (dictionary_learning); no pickle is read. With --data, the "
        "activations that it was made for, its figures are measured and the prior that files need "
        "is fitted.",
    )
    parser.add_argument("folder", type=str, help="of the other library")
    parser.add_argument("--out", type=str, default=None, help="run folder; default runs/FOLDER")
    parser.add_argument("--data", type=str, default=None, help="such as activations:DIR")
    parser.add_argument("--data-root", type=str, default=None, help="folder looked in first")
    parser.add_argument(
        "--most", type=int, default=None, help="active latents kept, unless k says it; default: d"
    )
    config = parsing.parse(parser, arguments)
    from narrows import data as sources
    from narrows.interop.foreign import read_foreign
    from narrows.tasks.shown import shown
    from narrows.training.run import adopt, fresh

    model, library = read_foreign(config.folder, most=config.most)
    data = sources.load(config.data, root=config.data_root) if config.data else None
    out = Path(config.out or fresh(f"runs/{Path(config.folder).resolve().name}"))
    with shown("measures"):
        run = adopt(model, out=out, data=data)
    bottleneck = model.bottleneck
    print(f"{library}: {bottleneck}")
    for name in ("nmse", "l0", "dead_atoms", "bits_per_dimension"):
        if name in run.test:
            print(f"{name:18} {run.test[name]:.4g}")
    for sentence in run.advice:
        print(f"note: {sentence}")
    more = "" if data is not None else " --data activations:DIR"
    print(f"next:\n  narrows evaluate {out}{more}\n  narrows features {out}{more}")
