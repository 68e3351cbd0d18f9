"""What a language model loses when a layer's activations are replaced by their reconstructions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from narrows.autoencoder import Autoencoder
from narrows.data.dataset import Dataset
from narrows.data.loaders.activations.contexts import Source
from narrows.data.loaders.activations.shards import read_manifest
from narrows.data.loaders.array import find_path
from narrows.data.loading import data_root
from narrows.data.mapped import MappedSplit
from narrows.interop.activations import call, find_layer, fingerprint, main_output
from narrows.interop.language import Contexts, Language
from narrows.modes import evaluating

Replace: TypeAlias = Callable[[Tensor], Tensor]
"""Rows of activations `[n, d]` to what stands in their place."""


@dataclass(frozen=True)
class LossRecovered:
    """Mean cross-entropy of the next token, in nats, with a layer's rows as they are and replaced.

    Attributes:
        clean: as they are.
        spliced: by their reconstructions.
        zero: by zeros.
        mean: by the mean activation.
        tokens: predictions that the means are over.
    """

    clean: float
    spliced: float
    zero: float
    mean: float
    tokens: int

    @property
    def recovered(self) -> float:
        """(zero - spliced) / (zero - clean): 1 where nothing is lost, 0 where zeros are as good."""
        return (self.zero - self.spliced) / (self.zero - self.clean)

    @property
    def recovered_over_mean(self) -> float:
        """The same over the mean activation, the stricter floor."""
        return (self.mean - self.spliced) / (self.mean - self.clean)


@torch.no_grad()
def loss_recovered(
    module: nn.Module,
    layer: str | tuple[str, str],
    *,
    inputs: Iterable[Mapping[str, Tensor]],
    reconstruct: Replace,
    mean: Tensor,
    limits: Sequence[float] = (),
    first: bool = True,
) -> LossRecovered:
    """Measures the loss with a dictionary spliced into the model, beside two floors.

    Rows that are left out of training stay as they are in all four passes: position 0, and norms
    above a limit. The floors are therefore those of the same rows.

    Args:
        module: causal language model whose output has `logits`.
        layer: dotted path of the layer whose rows are replaced; of a transcoder, of the layer
            whose rows it is given, and of that.
        inputs: batches of `input_ids` and `attention_mask`, such as `Contexts.batches` gives.
        reconstruct: a dictionary, such as `model.reconstruct`.
        mean: mean activation `[d]`.
        limits: norm above which a row stays, for each layer.
        first: position 0 stays.

    Raises:
        ValueError: if there is no prediction to measure, no such layer, or the pass reaches the
            second layer before the first.

    Source: Bricken et al. (2023), "Towards Monosemanticity"; the names of Karvonen et al. (2025).
    """
    names = (layer, layer) if isinstance(layer, str) else layer
    layers = [find_layer(module, name) for name in names]
    passes: dict[str, Replace | None] = {
        "clean": None, "spliced": reconstruct,
        "zero": lambda rows: rows.new_zeros(len(rows), len(mean)),
        "mean": lambda rows: mean.to(rows).expand(len(rows), -1),
    }  # fmt: skip
    sums, tokens = dict.fromkeys(passes, 0.0), 0
    with evaluating(module):
        for batch in inputs:
            mask = batch["attention_mask"].bool()
            chosen = mask.clone()
            if first:
                chosen &= mask.cumsum(1) > 1
            for name, replace in passes.items():
                with _Spliced(layers, replace, chosen, limits):
                    output = call(module, batch)
                sums[name] += _cross_entropy(output, batch["input_ids"], mask)
            tokens += int(mask[:, 1:].sum())
    if not tokens:
        raise ValueError("expected contexts of at least two tokens, got none")
    return LossRecovered(**{name: value / tokens for name, value in sums.items()}, tokens=tokens)


def spliced_loss(
    language: Language, model: Autoencoder, *, folder: Path, data: Dataset, contexts: int = 32
) -> LossRecovered:
    """`loss_recovered` on held-out contexts of the activations that a dictionary was trained on.

    Args:
        language: the model that the activations came from.
        model: the dictionary.
        folder: of the activations; its rule says which rows stay as they are.
        data: loaded from it.
        contexts: how many of the test split.

    Raises:
        ValueError: if the activations came from another model.
    """
    manifest = check_origin(language, folder)
    assert isinstance(data.test, MappedSplit)
    texts = Contexts(Source.open(folder).texts(data.test.rows, contexts))
    medians = manifest["median_norm"]
    medians = medians if isinstance(medians, list) else [medians]
    return loss_recovered(
        language.module, (manifest["layer"], manifest.get("target", manifest["layer"])),
        inputs=texts.batches(8), reconstruct=model.reconstruct,
        mean=data.means.flatten()[data.inputs :], first=bool(manifest["rule"]["first"]),
        limits=[manifest["rule"]["largest"] * median for median in medians],
    )  # fmt: skip


def check_origin(language: Language, folder: Path) -> dict[str, Any]:
    """What a folder of activations says of itself, if they came from this model.

    Raises:
        ValueError: if they came from another.
    """
    manifest = read_manifest(folder)
    if fingerprint(language.module) != manifest["weights"]:
        raise ValueError(
            f"{folder} holds activations of {manifest['inputs'].get('model', 'another model')}, "
            f"and {language.name} has other weights; name the model that they came from"
        )
    return manifest


def folder_of(data: Dataset, root: str | Path | None = None) -> Path:
    """The folder that a data set of activations was loaded from.

    Raises:
        ValueError: if the data are no activations.
    """
    kind, _, argument = data.origin.source.partition(":")
    if kind != "activations":
        raise ValueError(
            f"a language model goes with activations:DIR, these data are {data.origin.source!r}"
        )
    return find_path(argument, data_root(root))


class _Spliced:
    """Replaces some of a layer's rows, by what those of a source give, within a block."""

    def __init__(
        self,
        layers: Sequence[nn.Module],
        replace: Replace | None,
        chosen: Tensor,
        limits: Sequence[float],
    ) -> None:
        self.source, self.target = layers
        self.replace, self.chosen, self.limits = replace, chosen, limits
        self.given: Tensor | None = None

    def __enter__(self) -> None:
        self.hooks = [
            self.source.register_forward_hook(self._keep),
            self.target.register_forward_hook(self._put),
        ]

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _keep(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self.given = main_output(output)

    def _put(self, _module: nn.Module, _inputs: object, output: object) -> object:
        if self.replace is None:
            return output
        if self.given is None:
            raise ValueError(
                "the forward pass reaches the layer before its source; a transcoder goes from an "
                "earlier layer to a later one"
            )
        values = main_output(output)
        here = self.chosen.to(values.device)
        for rows, limit in zip((self.given, values), self.limits, strict=False):
            here = here & (rows.float().norm(dim=-1) <= limit)
        changed = values.clone()
        changed[here] = self.replace(self.given[here].float()).to(values)
        if isinstance(output, Tensor):
            return changed
        assert isinstance(output, Sequence)
        return (changed, *output[1:])


def _cross_entropy(output: object, ids: Tensor, mask: Tensor) -> float:
    """Sum over all predictions of real tokens, in nats."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.shape[:2] != ids.shape:
        raise TypeError("expected a language model whose output has logits [batch, tokens, words]")
    real = mask[:, 1:].to(logits.device)
    asked = ids[:, 1:].to(real.device)[real]
    return float(cross_entropy(logits[:, :-1][real].float(), asked, reduction="sum"))
