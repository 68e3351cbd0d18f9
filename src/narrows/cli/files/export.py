"""`narrows export RUN`: programs that run elsewhere, or a folder to share."""

from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli import parsing, trained

if TYPE_CHECKING:
    from narrows.autoencoder import Autoencoder

_ABOUT = """Export a run's model.

torch    encoder.pt2 and decoder.pt2, programs of torch.export
onnx     encoder.onnx and decoder.onnx (extra: export), run by onnxruntime
saelens  cfg.json and sae_weights.safetensors of a sparse autoencoder, as SAELens reads
hub      model, weights, card with the measured table, as from_pretrained reads

Programs are compared with the model on test images of the run's own data.
"""


def export(arguments: list[str]) -> int:
    """Writes the files and says how they compare; 1 if a part was refused."""
    import torch

    from narrows.cli.prior import load
    from narrows.export import ExportError, export_onnx, export_torch

    parser = parsing.parser("export", _ABOUT)
    trained.add_options(parser)
    formats = ["torch", "onnx", "hub", "saelens"]
    parser.add_argument("--format", type=str, default="torch", choices=formats, help="as above")
    parser.add_argument("--prior", type=str, default=None, help="fitted prior to use")
    parser.add_argument("--n", type=int, default=16, help="test images to compare on")
    parser.add_argument("--out", type=str, default=None, help="folder; default RUN/export")
    config = parsing.parse(parser, arguments)
    model = load(config.run, config.prior)
    if config.format in ("hub", "saelens"):
        print(_share(model, config.format, Path(config.run), config.out))
        return 0
    folder = Path(config.out or Path(config.run) / "export")
    _, data = trained.load(config)
    examples = data.test.batch(torch.arange(min(config.n, len(data.test))))
    examples = examples[:, : model.network.inputs or None]  # of pairs, what is coded
    write = export_onnx if config.format == "onnx" else export_torch
    refused = 0
    for part in ("encoder", "decoder"):  # one that is refused does not keep the other
        try:
            made = write(model, folder, examples=examples, part=part)
        except ExportError as error:
            print(f"{part}: refused: {error}")
            refused = 1
            continue
        print(
            f"{made.path}: {made.path.stat().st_size / 1e6:.2f} MB; on {len(examples)} test "
            f"examples of {data.name} its largest difference from the model is "
            f"{made.largest:.2g}, {made.differing:.2%} of values differ"
        )
    return refused


def _share(model: "Autoencoder", form: str, run: Path, out: str | None) -> Path:
    """Writes the folder that others load, and gives it back."""
    from narrows.interop.saelens import write_saelens
    from narrows.training.run import Run

    folder = Path(out or run / form)
    if form == "saelens":
        return write_saelens(model, folder)
    return model.save_pretrained(folder, Run.load(run))
