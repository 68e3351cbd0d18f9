"""`narrows activations MODEL`: what a layer of a language model gives for texts, on the disk."""

import os
import time
from pathlib import Path

from jsonargparse import Namespace

from narrows.cli import parsing
from narrows.cli.main import UsageError
from narrows.functional.ranks import joined, rank, ranks
from narrows.tasks.shown import shown_by_examples

_DTYPES = ("float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


def activations(arguments: list[str]) -> None:
    """Writes shards, and prints how many rows there are and which are left out of training."""
    config = _asked(arguments)
    with joined():
        _record(config)


def _record(config: Namespace) -> None:
    import torch

    from narrows.data.loaders.activations.outliers import LARGEST
    from narrows.interop.activations import find_layer
    from narrows.interop.language import Language, read_texts, record_text

    own = ranks() > 1 and config.device == "cuda"
    device = f"cuda:{os.environ['LOCAL_RANK']}" if own else config.device
    language = Language.load(config.model, device=device)
    for layer in filter(None, (config.layer, config.target_layer)):
        find_layer(language.module, layer)  # before texts are read
    contexts = read_texts(
        config.text, language.tokenizer, tokens=config.tokens, length=config.context,
        encoding=config.encoding,
    )  # fmt: skip
    began = time.monotonic()
    with shown_by_examples("contexts", len(contexts.ids) / ranks()):
        left = record_text(
            language, config.layer, contexts=contexts, out=config.out, target=config.target_layer,
            batch_size=config.batch_size,
            dtype=getattr(torch, config.dtype) if config.dtype else None,
            progress=lambda rows: print(f"{rows:,} of {contexts.tokens:,} rows", flush=True),
        )  # fmt: skip
    if rank() > 0:
        return
    seconds = time.monotonic() - began
    print(f"{len(left.kept):,} of {contexts.tokens:,} rows to train on, {seconds:.0f} s")
    for sentence in left.sentences(largest=LARGEST):
        print(f"left out         {sentence}")
    print(Path(config.out))


def _asked(arguments: list[str]) -> Namespace:
    parser = parsing.parser(
        "activations",
        "Write what a layer of a language model gives for texts, to train sparse autoencoders on: "
        "narrows compare ... --data activations:OUT. MODEL is a folder, a GGUF file or a name of "
        "the hub. The same command goes on where an interrupted one stopped.",
    )
    parser.add_argument("model", type=str, help="language model: a folder, a file .gguf or a name")
    parser.add_argument("--layer", type=str, help="its dotted path, such as model.layers.14")
    parser.add_argument(
        "--target-layer", type=str, default=None,
        help="layer whose rows become targets of these, for narrows train sae-transcoder",
    )  # fmt: skip
    parser.add_argument("--text", type=str, nargs="+", help="text files")
    parser.add_argument("--tokens", type=int, help="rows to write; first tokens count")
    parser.add_argument("--out", type=str, help="folder for the shards")
    parser.add_argument("--context", type=int, default=128, help="tokens of a context")
    parser.add_argument("--batch-size", type=int, default=16, help="contexts computed together")
    parser.add_argument("--encoding", type=str, default="utf-8", help="of the texts")
    parser.add_argument("--dtype", type=str, default=None, help="of stored values; default: kept")
    parser.add_argument("--device", type=str, default="cpu", help="where the model computes")
    config = parsing.parse(parser, arguments)
    missing = [name for name in ("layer", "text", "tokens", "out") if not config[name]]
    if missing:
        raise UsageError(f"--{missing[0]} is needed")
    if config.dtype not in (None, *_DTYPES):
        raise UsageError(f"--dtype is one of {', '.join(_DTYPES)}, got {config.dtype!r}")
    return config
