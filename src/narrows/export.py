"""Trained models as programs that run where narrows is not: image to code, and code to image.

    encoder: images [batch, *shape] -> code, as `Autoencoder.encode` gives it
    decoder: code -> images [batch, *shape], as `Autoencoder.decode` gives them

Every program is run on real examples after it was written and read back, and compared with the
model; the batch may have any size.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from narrows.autoencoder import Autoencoder
from narrows.codes import tensors
from narrows.modes import evaluating
from narrows.saving.writing import whole

LIMIT = 2_000_000_000
"""Bytes of weights that one ONNX file can hold (a protocol buffer's limit)."""

Run = Callable[[Sequence[Tensor]], list[Tensor]]


class ExportError(ValueError):
    """A part of a model that cannot leave narrows, or whose program computes something else."""


@dataclass(frozen=True)
class Exported:
    """A program on disk, and how it compares with the model on the examples.

    Attributes:
        path: of the file.
        largest: largest absolute difference of its outputs; of indices in indices, of coefficients
            in their unit, of images in [0, 1].
        differing: share of its outputs that differ by more than `TOLERANCE`.
    """

    path: Path
    largest: float
    differing: float


TOLERANCE = 1e-4
"""Two programs add in another order: outputs agree to float32 rounding, carried through a net."""

FLIPS = 1e-3
"""Share of a code that may differ: a feature half-way between two codes falls by its rounding."""


class Encoder(nn.Module):
    """Images to the code as it would be stored, a tuple of tensors."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model: Autoencoder = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The code of images `[batch, *shape]` in [0, 1]."""
        return tuple(tensors(self.model.prior.quantize(self.model.latent(images).code)))


class Decoder(nn.Module):
    """A code's tensors to the mean images."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model: Autoencoder = model

    def forward(self, *code: Tensor) -> tuple[Tensor, ...]:
        """The images `[batch, *shape]` of a code."""
        z = self.model.bottleneck.embed(self.model.bottleneck.codes.assemble(iter(code)))
        return (self.model.likelihood.mean(self.model.decoder(z)),)


def export_torch(
    model: Autoencoder, folder: str | Path, *, examples: Tensor, part: str = "encoder"
) -> Exported:
    """Writes a part as a `torch.export` program, `PART.pt2`, and compares it with the model.

    Read it with `torch.export.load(path).module()`.

    Args:
        model: any; exported as in eval.
        folder: made if it is not there.
        examples: two or more real ones, `[n, *shape]`.
        part: "encoder" or "decoder".

    Raises:
        ExportError: if the part cannot be exported, or computes something else.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with _leaving(model):
        program, inputs, outputs = _program(model, examples, part)
        path = Path(folder) / f"{part}.pt2"
        content = io.BytesIO()
        torch.export.save(program, content)  # to a file it would end the process on a full disk
        with whole(path) as partial:
            partial.write_bytes(content.getvalue())
            module = torch.export.load(partial).module()
            return _compare(path, lambda given: list(module(*given)), inputs, outputs)


def export_onnx(
    model: Autoencoder, folder: str | Path, *, examples: Tensor, part: str = "encoder"
) -> Exported:
    """Writes a part as an ONNX file, `PART.onnx`, and compares onnxruntime with the model.

    The inputs and outputs are named `images` and `code` (`code_0`, `code_1` where the code has
    several tensors: atoms and values of a sparse one).

    Args:
        model: any; exported as in eval.
        folder: made if it is not there.
        examples: two or more real ones, `[n, *shape]`.
        part: "encoder" or "decoder".

    Raises:
        ModuleNotFoundError: if the extra is not installed.
        ExportError: if the part cannot be exported, or computes something else.
    """
    runtime = _runtime()
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if size >= LIMIT:
        raise ExportError(f"an ONNX file holds less than 2 GB of weights, these are {size:,} bytes")
    Path(folder).mkdir(parents=True, exist_ok=True)
    with _leaving(model):
        program, inputs, outputs = _program(model, examples, part)
        path = Path(folder) / f"{part}.onnx"
        stems = ("images", "code") if part == "encoder" else ("code", "images")
        takes, gives = _names(stems[0], len(inputs)), _names(stems[1], len(outputs))
        try:
            made = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=takes, output_names=gives
            )
        except torch.onnx.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().splitlines()[0]
            raise ExportError(f"the {part} cannot be written as ONNX: {cause}") from error
        assert made is not None
        with whole(path) as partial:
            made.save(partial, external_data=False)
            session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])

            def run(given: Sequence[Tensor]) -> list[Tensor]:
                feed = dict(zip(takes, (tensor.numpy() for tensor in given), strict=True))
                return [torch.from_numpy(value) for value in session.run(gives, feed)]

            return _compare(path, run, inputs, outputs)


def _program(
    model: Autoencoder, examples: Tensor, part: str
) -> tuple[ExportedProgram, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The program of a part, with inputs and the model's own outputs for them."""
    if len(examples) < 2:
        raise ExportError(f"expected two or more examples to compare on, got {len(examples)}")
    stored = model.encode(examples)
    code = tuple(tensors(stored))
    module, inputs, outputs = Encoder(model), (examples,), code
    if part == "decoder":
        module, inputs, outputs = Decoder(model), code, (model.decode(stored),)
    elif part != "encoder":
        raise ExportError(f"expected the part encoder or decoder, got {part!r}")
    batch = torch.export.Dim("batch", min=1)
    shapes = tuple({0: batch} for _ in inputs)
    try:
        program = torch.export.export(
            module.eval(), inputs, dynamic_shapes=shapes if part == "encoder" else (shapes,)
        )
    except Exception as error:
        raise ExportError(
            f"the {part} of {type(model.bottleneck).__name__} cannot be captured as a program of "
            f"any batch size: {str(error).strip().splitlines()[0]}"
        ) from error
    _refuse_own_operations(program, model, part)
    return program, inputs, outputs


def _refuse_own_operations(program: ExportedProgram, model: Autoencoder, part: str) -> None:
    """Refuses programs that would need narrows to run."""
    graphs = (m.graph for m in program.graph_module.modules() if isinstance(m, GraphModule))
    targets = (node.target for graph in graphs for node in graph.nodes)
    own = {str(target) for target in targets if getattr(target, "namespace", "") == "narrows"}
    if own:
        kind = getattr(model.bottleneck, "coder", model.bottleneck)
        raise ExportError(
            f"the {part} of {type(model.bottleneck).__name__} with {type(kind).__name__} cannot "
            f"leave narrows: {', '.join(sorted(own))} loops until it has converged, as often as "
            "the data need; TopK and OMP take a fixed number of steps and can be exported"
        )


def _compare(path: Path, run: Run, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Exported:
    """Runs a program on all examples and on the first alone.

    Raises:
        ExportError: if it differs from the model by more than rounding does; no file is left.
    """
    largest, differing, count = 0.0, 0, 0
    for n in (len(inputs[0]), 1):
        for one, two in zip(run([t[:n] for t in inputs]), outputs, strict=True):
            if one.shape != two[:n].shape:
                raise ExportError(f"{path.name} gives shape {tuple(one.shape)} for batch {n}")
            error = (one.double() - two[:n].double()).abs()
            largest = max(largest, float(error.max()) if error.numel() else 0.0)
            differing += int((~(error <= TOLERANCE)).sum())
            count += error.numel()
    share = differing / max(count, 1)
    if share > (FLIPS if path.stem == "encoder" else 0):
        raise ExportError(
            f"{path.name} does not compute what the model does: {share:.2%} of its outputs "
            f"differ, by up to {largest:.3g}; it was not written"
        )
    return Exported(path, largest, share)


def _names(stem: str, count: int) -> list[str]:
    return [stem] if count == 1 else [f"{stem}_{place}" for place in range(count)]


def _runtime() -> ModuleType:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ONNX files need {error.name}: pip install 'narrows[export]'"
        ) from None
    return onnxruntime


@contextlib.contextmanager
def _leaving(model: Autoencoder) -> Iterator[None]:
    """A block in eval, without gradients and without torch's remarks on its own exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with evaluating(model), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
