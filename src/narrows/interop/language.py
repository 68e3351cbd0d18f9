"""A language model of transformers, the texts it reads, and their contexts."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from narrows.data.loaders.activations.outliers import LeftOut
from narrows.data.loaders.activations.shards import VOCABULARY
from narrows.functional.ranks import rank
from narrows.interop.activations import record
from narrows.saving.writing import write_json

CHARACTERS = 2**16  # of a text that are tokenised together


class Tokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    bos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The tokens of a text."""
        ...

    def decode(self, token_ids: Sequence[int], /) -> str:
        """The text of tokens."""
        ...


@dataclass(frozen=True)
class Language:
    """A causal language model: the module, its tokenizer, its name.

    Attributes:
        module: called with `input_ids` and `attention_mask`.
        tokenizer: of the model.
        name: shown and kept with what is computed.
    """

    module: nn.Module
    tokenizer: Tokenizer
    name: str

    @classmethod
    def load(cls, name: str, *, device: str = "cpu") -> "Language":
        """Loads a folder, a GGUF file, or a name of the hub; a folder needs no network.

        A folder without a `config.json` has one GGUF file, whose weights transformers turns back to
        floats: the model is then the quantised one.

        Raises:
            ModuleNotFoundError: without transformers.
            ValueError: if a folder holds no model, or several GGUF files.
        """
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise ModuleNotFoundError(
                "language models need transformers: pip install 'narrows[transformers]', and "
                "'narrows[gguf]' for GGUF files"
            ) from error
        source, options = _place(name)
        try:
            module = AutoModelForCausalLM.from_pretrained(source, **options)
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
        except (OSError, ImportError) as error:
            raise ValueError(f"{name!r} cannot be loaded as a language model: {error}") from error
        nn.Module.to(module.eval(), device)  # its own `to` hides its arguments from a type checker
        return cls(module, tokenizer, Path(source).name if options else name)


def _place(name: str) -> tuple[str, dict[str, str | bool]]:
    """What transformers is asked for, and how."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name, "local_files_only": True}
    if not path.is_dir():
        return name, {}
    if (path / "config.json").is_file():
        return str(path), {"local_files_only": True}
    files = sorted(file.name for file in path.glob("*.gguf"))
    if len(files) != 1:
        found = f"several GGUF files ({', '.join(files)}); name one" if files else "neither"
        raise ValueError(f"expected a folder with config.json or a GGUF file, {name!r} has {found}")
    return str(path), {"gguf_file": files[0], "local_files_only": True}


@dataclass(frozen=True)
class Contexts:
    """Tokens cut into contexts.

    Attributes:
        ids: of each context, `[t]` int64, t at most the context length.
    """

    ids: Sequence[Tensor]

    @property
    def tokens(self) -> int:
        """Of all contexts."""
        return sum(map(len, self.ids))

    @property
    def checksum(self) -> str:
        """Of all tokens and where they are cut, in 16 characters."""
        digest = hashlib.sha256()
        for ids in self.ids:
            digest.update(ids.numpy().tobytes() + b"|")
        return digest.hexdigest()[:16]

    def batches(self, size: int) -> Iterator[Mapping[str, Tensor]]:
        """Inputs of `size` contexts each, padded at their ends with token 0, masked."""
        for start in range(0, len(self.ids), size):
            some = self.ids[start : start + size]
            ids = torch.nn.utils.rnn.pad_sequence([*some], batch_first=True)
            lengths = torch.tensor([len(one) for one in some])
            mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
            yield {"input_ids": ids, "attention_mask": mask}


def read_texts(
    files: Sequence[str | Path],
    tokenizer: Tokenizer,
    *,
    tokens: int,
    length: int = 128,
    encoding: str = "utf-8",
) -> Contexts:
    """Reads text files one after the other into contexts, until there are enough tokens.

    A context lies in one file and begins with the tokenizer's beginning-of-text token, if it has
    one, which counts. The last of a file may be shorter.

    Args:
        files: plain text.
        tokenizer: of the model.
        tokens: how many are wanted.
        length: tokens of a context.
        encoding: of the files.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file has another encoding, or all files together have too few tokens.
    """
    if tokens < 1 or length < 2:
        raise ValueError(
            f"expected at least 1 token and contexts of 2, got tokens={tokens}, length={length}"
        )
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    found: list[Tensor] = []
    missing = tokens
    for file in files:
        waiting: list[int] = []
        for part in _parts(_text(Path(file), encoding)):
            waiting += tokenizer.encode(part, add_special_tokens=False)
            while len(waiting) >= (room := length - len(begin)) and missing:
                found.append(torch.tensor([*begin, *waiting[:room]][:missing]))
                missing -= len(found[-1])
                waiting = waiting[room:]
        if waiting and missing:
            found.append(torch.tensor([*begin, *waiting][:missing]))
            missing -= len(found[-1])
        if not missing:
            return Contexts(found)
    raise ValueError(
        f"{tokens:,} tokens were asked for and the {len(files)} text files have "
        f"{tokens - missing:,}; give more text, or ask for {tokens - missing}"
    )


def _text(path: Path, encoding: str) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"there is no text file {str(path)!r}")
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        raise ValueError(f"{path} is compressed; unpack it first, such as by zcat {path} > FILE")
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise ValueError(f"there is no encoding {encoding!r}; try utf-8 or latin-1") from error
    except UnicodeDecodeError as error:
        likely = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise ValueError(
            f"{path} is not {encoding}: byte {content[error.start]:#04x} at {error.start}; name "
            f"its encoding, such as {likely}, or convert it: iconv -f {likely} -t utf-8"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path} holds zero bytes, which text has not: it is binary, or utf-16")
    return text.removeprefix("\ufeff")


def _parts(text: str) -> Iterator[str]:
    """Lines together, about as long as is tokenised at once."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + CHARACTERS)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end


def record_text(  # noqa: PLR0913 (all but two are named)
    language: Language,
    layer: str,
    *,
    contexts: Contexts,
    out: str | Path,
    target: str | None = None,
    batch_size: int = 16,
    dtype: torch.dtype | None = None,
    shard_rows: int = 2**16,
    progress: Callable[[int], None] | None = None,
) -> LeftOut:
    """`record` of the contexts of texts, with the tokens' words beside the shards for pages.

    Args:
        language: the model.
        layer: dotted path in it, such as `model.layers.14`.
        contexts: of `read_texts`.
        out: folder for the shards.
        target: as of `record`.
        batch_size: contexts computed together.
        dtype: of the stored values; None keeps that of the layer.
        shard_rows: as of `record`.
        progress: as of `record`.
    """
    about = {
        "model": language.name, "tokens": contexts.tokens, "contexts": len(contexts.ids),
        "checksum": contexts.checksum, "batch_size": batch_size,
    }  # fmt: skip
    left = record(
        language.module, layer, inputs=contexts.batches(batch_size), out=out, target=target,
        about=about, first=True, dtype=dtype, shard_rows=shard_rows, progress=progress,
    )  # fmt: skip
    if rank() > 0:
        return left
    seen = torch.cat([*contexts.ids]).unique().tolist()
    words = {str(token): language.tokenizer.decode([token]) for token in seen}
    write_json(Path(out) / VOCABULARY, words)
    return left


def unembedding(module: nn.Module) -> Tensor:
    """What turns the last residual stream into logits, `[words, d]`.

    The gain of the final norm is multiplied in, where one is found; its division is left out, so
    that only ratios of effects mean anything.

    Raises:
        TypeError: if the model has no output embedding.
    """
    find = getattr(module, "get_output_embeddings", None)
    weight = getattr(find() if callable(find) else None, "weight", None)
    if not isinstance(weight, Tensor):
        kind = type(module).__name__
        raise TypeError(f"expected a language model with output embeddings, got {kind}")
    known = dict(module.named_modules())
    norms = ("model.norm", "transformer.ln_f", "gpt_neox.final_layer_norm", "model.final_layernorm")
    found = [getattr(known[name], "weight", None) for name in norms if name in known]
    gains = [gain for gain in found if isinstance(gain, Tensor)]
    matrix = weight.detach().float().cpu()
    return matrix * gains[0].detach().float().cpu() if gains else matrix
