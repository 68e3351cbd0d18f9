"""`narrows features RUN`: the page of a dictionary that was trained on vectors."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from narrows.cli import parsing, trained

if TYPE_CHECKING:
    from narrows.autoencoder import Autoencoder
    from narrows.compare.pages.features import Beside
    from narrows.data.dataset import Dataset


def features(arguments: list[str]) -> None:
    """Writes the page, and prints where it is."""
    parser = parsing.parser(
        "features",
        "Write a page about the dictionary of a run on vectors: how often its features fire, what "
        "they explain, and for some of them where they fire most and which are near. With --model, "
        "which the activations came from, also what the features do to its words and its loss.",
    )
    trained.add_options(parser)
    parser.add_argument("--model", type=str, default=None, help="language model of the activations")
    parser.add_argument("--features", type=str, default="", help="numbers, such as 3,17")
    parser.add_argument("--most", type=int, default=12, help="features shown if none are named")
    parser.add_argument("--contexts", type=int, default=32, help="held-out contexts of the loss")
    parser.add_argument("--out", type=str, default=None, help="page; default RUN/features.html")
    config = parsing.parse(parser, arguments)
    from narrows.compare.pages.features import write_features
    from narrows.tasks.shown import shown

    run, data = trained.load(config)
    chosen = _numbers(config.features)
    with shown("features"):
        path = write_features(
            config.out or Path(config.run) / "features.html", run.model, data=data,
            beside=_beside(config, run.model, data), chosen=chosen, most=config.most,
            command=" ".join(["narrows features", *arguments]),
        )  # fmt: skip
    print(path)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ValueError(f"expected numbers of features, such as 3,17, got {text!r}") from None


def _beside(config: Namespace, model: "Autoencoder", data: "Dataset") -> "Beside":
    """Contexts of the activations and, of a language model, its words and its loss."""
    from narrows.compare.pages.features import Beside
    from narrows.data.loaders.activations.contexts import Source
    from narrows.interop.language import Language, unembedding
    from narrows.interop.splicing import folder_of, spliced_loss

    if not config.model and data.origin.source.partition(":")[0] != "activations":
        return Beside()
    folder = folder_of(data, config.data_root)
    source = Source.open(folder)
    if not config.model:
        return Beside(source)
    language = Language.load(config.model)
    recovered = spliced_loss(language, model, folder=folder, data=data, contexts=config.contexts)
    matrix = unembedding(language.module)
    words = [language.tokenizer.decode([token]) for token in range(len(matrix))]
    return Beside(source, recovered, matrix, words)
