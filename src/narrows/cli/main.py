"""The `narrows` command: finds the verb, runs it, turns errors into sentences."""

import difflib
import keyword
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from narrows import __version__

# One module each, imported when asked for: `narrows --help` must not wait for torch.
COMMANDS = {
    "demo": "train four bottlenecks on real digits and write a report (under a minute)",
    "choose": "find out which latent to use: at these bits, in this time",
    "train": "train a recipe on a data set",
    "compare": "train several recipes with several seeds, and write one page",
    "evaluate": "measure a run's model on a split",
    "report": "write the page of a finished run again, or of a folder of runs",
    "prior": "fit a prior to a run's codes: PixelCNN, transformer, mixture, ...",
    "sample": "draw images from a run's prior",
    "interpolate": "decode paths between the codes of test images",
    "traverse": "decode a code with one dimension moved at a time",
    "mask": "decode codes with parts missing, or completed by a prior",
    "denoise": "add noise to test images, encode and decode them",
    "compress": "write image files as a run's codes, as small as their rate",
    "decompress": "decode compressed files to images",
    "activations": "write what a layer of a language model gives for texts, to train on",
    "features": "write the page of a dictionary: how its features fire, and what they say",
    "import": "make a run's folder of a sparse autoencoder of SAELens or dictionary_learning",
    "codes": "write a table of items and their codes, such as semantic identifiers",
    "explore": "open a page on this machine where codes are changed by hand and decoded at once",
    "export": "write a run's model as torch.export or ONNX programs, or as a folder for the hub",
    "zoo": "list the trained models that come with narrows; show one, or fetch it",
    "data": "list the data sets; with a name, show one",
    "recipes": "list the recipes",
    "check": "show versions, device and where data is looked for",
}

_PLACES = {
    **dict.fromkeys(("sample", "interpolate", "traverse", "mask", "denoise"), "generate"),
    **dict.fromkeys(("compress", "decompress"), "files.compression"),
    "activations": "files.activations",
    "features": "files.features",
    "import": "files.foreign",
    "codes": "files.codes",
    "explore": "files.explore",
    "zoo": "files.zoo",
    "export": "files.export",
    **dict.fromkeys(("evaluate", "report"), "evaluate"),
}
"""Modules that hold several commands, or stand in a folder of their kind."""

USAGE, FAILURE, INTERRUPTED = 2, 1, 130


class UsageError(Exception):
    """The command line itself is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `narrows ARGUMENTS`; returns the exit code: 0, 1 for failures, 2 for usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    given, trust = _without_trust(given)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if given[0] in ("-V", "--version"):
        print(f"narrows {__version__}")
        return 0
    return guarded(lambda: _run(given, trust), debug=debug)


def guarded(work: Callable[[], int], *, debug: bool = False) -> int:
    """Runs a command; turns its errors into one sentence on stderr and an exit code."""
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.showwarning = _note
            return work()
    except UsageError as error:
        if debug:
            raise
        return _fail(str(error), USAGE) if not _rank() else USAGE  # all ranks have one command
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", INTERRUPTED)
    except BrokenPipeError:
        return FAILURE  # whoever read our output has gone; there is nobody to tell
    except Exception as error:
        if debug:
            raise
        return _fail(_sentence(error), FAILURE)


def _without_trust(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without `--trust MODULE`, and the modules."""
    rest, trust = list[str](), list[str]()
    words = iter(given)
    for word in words:
        option, equals, module = word.partition("=")
        if option == "--trust":
            trust.append(module if equals else next(words, ""))
        else:
            rest.append(word)
    return rest, trust


def _run(given: Sequence[str], trust: Sequence[str]) -> int:
    command = given[0]
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`narrows --help` lists them"
        raise UsageError(f"there is no command {command!r}; {hint}")
    if not all(trust):
        raise UsageError("--trust takes the name of a module, such as --trust mine")
    module = import_module(f"narrows.cli.{_PLACES.get(command, command)}")
    from narrows.saving.trust import name_modules, trusting

    name_modules(_written(given[1:]), *trust)
    name = command + "_" * keyword.iskeyword(command)
    verb = getattr(module, name if command in _PLACES else "run")
    with trusting(trust):
        return verb(list(given[1:])) or 0


def _written(words: Sequence[str]) -> str:
    """What the user typed, and what stands in the recipes that it names."""
    text = " ".join(words)
    files = [Path(name) for name in re.findall(r"[^\s=,]+\.ya?ml\b", text)]
    recipes = [path for path in files if path.name != "config.yaml" and path.is_file()]
    return "\n".join([text, *(path.read_text(errors="replace") for path in recipes)])


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "narrows: autoencoders with interchangeable latent bottlenecks",
            "",
            "usage: narrows COMMAND [OPTIONS]     narrows COMMAND --help",
            "",
            *lines,
            "",
            "  --debug         show the traceback of an error",
            "  --trust MODULE  import this module of yours if a run's folder names parts of it",
            "  --version       show the version",
        ]
    )


def _rank() -> int | None:
    """This process's among those that torchrun started; None where it is alone."""
    several = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    return int(os.environ["RANK"]) if several else None


_LOST = re.compile(r"gloo/|NCCL|[Cc]onnection (closed|reset) by peer")
"""In what PyTorch says where the process at the other end has gone."""


def _sentence(error: Exception) -> str:
    expected = (ValueError, TypeError, OSError, RuntimeError, LookupError)
    text = str(error).strip() or type(error).__name__
    if _LOST.search(text) and "torch.distributed" in sys.modules:
        return "ended, as another rank has ended; the message of that one says why"
    if isinstance(error, expected):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def _note(message: Warning | str, *_place: object) -> None:
    """Shows a warning as a sentence: its place in the code is for --debug."""
    print(f"narrows: note: {message}", file=sys.stderr)


def _fail(sentence: str, code: int) -> int:
    who = "" if _rank() is None else f"rank {_rank()}: "
    print(f"narrows: {who}{sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
