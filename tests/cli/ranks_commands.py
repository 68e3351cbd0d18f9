"""Runs commands of narrows one after the other, and notes what each rank computed.

    torchrun --nproc-per-node 2 ranks_commands.py FOLDER COMMANDS

COMMANDS is a JSON list of lists of words. `FOLDER/said.N.R.json` then holds of command N and rank
R the exit code, what was printed, and how many examples went through the encoder or the language
model. Where KILL is N, rank 1 kills itself in the middle of command N.
"""

import contextlib
import functools
import io
import json
import os
import signal
import sys
from pathlib import Path

import narrows as nw
from narrows.cli.main import main
from narrows.interop import activations, language

RANK = int(os.environ["RANK"])
seen, dying = [], False


def count(examples):
    """Adds to what this rank has computed, and dies of it if that is wanted."""
    seen.append(examples)
    if dying and RANK == 1 and len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(function, size):
    """The function, its examples counted."""

    def inner(*arguments, **named):
        count(size(*arguments))
        return function(*arguments, **named)

    return inner


nw.Autoencoder.latent = counted(nw.Autoencoder.latent, lambda _, x: len(x))
activations.call = counted(activations.call, lambda _, batch: len(batch["input_ids"]))

language.record_text = functools.partial(language.record_text, shard_rows=500)

folder, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
for number, words in enumerate(commands):
    said, dying = io.StringIO(), os.environ.get("KILL") == str(number)
    seen.clear()
    with contextlib.redirect_stdout(said):
        code = main(words)
    text = json.dumps({"code": code, "said": said.getvalue(), "examples": sum(seen)})
    (folder / f"said.{number}.{RANK}.json").write_text(text)
    if code:
        sys.exit(code)
