"""Checkpoints that survive whatever stops a run: whole or not there, and verified on loading.

A checkpoint is one safetensors file: the tensors of the state, and in its header the rest of
the state as JSON with a checksum over both. One file, because two cannot be replaced at once.
It is written beside its place, flushed to the disk and renamed, so that a kill, a power cut or
a full disk leaves the checkpoint before it untouched. No pickle is written or read.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from narrows.saving.weights import write_tensors
from narrows.saving.writing import whole
from narrows.training.pack import State, pack, unpack

FORMAT = "narrows-checkpoint-1"
LAST, PREVIOUS, BEST = "last", "previous", "best"


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted, or is not there; says what to do instead."""


def save_checkpoint(folder: Path, state: State, which: str = LAST) -> Path:
    """Writes `state` as a folder's last or best checkpoint, whole or not at all.

    The last one of before becomes the previous.

    Args:
        folder: usually `RUN/checkpoints`; made if it is not there.
        state: nested dicts, lists and tuples of tensors and plain values.
        which: "last" or "best".

    Returns:
        Path of what was written.

    Raises:
        OSError: if it cannot be written (a full disk); the last good one is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = checkpoint_path(folder, which)
    try:
        with whole(target) as scratch:
            write_state(scratch, state)
            if which == LAST and target.exists():
                _link(target, checkpoint_path(folder, PREVIOUS))
        sync_folder(folder)
    except OSError as error:
        kept = f"; {target} of before is kept" if target.exists() else ""
        reason = error.strerror or str(error)
        text = f"the checkpoint could not be written ({reason}){kept}"
        raise OSError(error.errno, text) from error
    return target


def load_checkpoint(folder: Path, which: str = LAST) -> State:
    """Reads and verifies a checkpoint.

    Args:
        folder: where `save_checkpoint` wrote.
        which: "last", "previous" or "best".

    Raises:
        CheckpointError: if it is not there, is truncated, or was edited: with the reason, and
            with the other checkpoint that is whole, if there is one.
    """
    try:
        return read_state(checkpoint_path(folder, which))
    except CheckpointError as error:
        others = [name for name in (LAST, PREVIOUS, BEST) if name != which]
        whole = next((name for name in others if _is_whole(checkpoint_path(folder, name))), None)
        offer = (
            f"; {whole!r} is whole: ask for that checkpoint instead"
            if whole
            else "; there is no other, so the run has to start anew"
        )
        raise CheckpointError(f"{error}{offer}") from None


def checkpoint_path(folder: Path, which: str = LAST) -> Path:
    """Where a checkpoint lies.

    Raises:
        CheckpointError: if there is no checkpoint of that name.
    """
    if which not in (LAST, PREVIOUS, BEST):
        raise CheckpointError(f"expected the checkpoint last, previous or best, got {which!r}")
    return folder / f"{which}.safetensors"


def write_state(path: Path, state: State) -> None:
    """Writes one file; not atomic by itself."""
    tensors, plain = pack(state)
    text = json.dumps(plain)
    header = {
        "format": FORMAT,
        "state": text,
        "sha256": checksum(tensors, text),
        "versions": json.dumps(versions()),
    }
    write_tensors(path, tensors, header)


def read_state(path: Path) -> State:
    """Reads one file and verifies its checksum.

    Raises:
        CheckpointError: if it is not there, not a checkpoint, truncated or changed.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not there")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error})") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a checkpoint of this version: expected {FORMAT}, got "
            f"{header.get('format')}"
        )
    if checksum(tensors, header.get("state", "")) != header.get("sha256"):
        raise CheckpointError(f"{path} was changed after it was written: its checksum differs")
    return unpack(tensors, json.loads(header["state"]))


def versions() -> dict[str, str]:
    """What the numbers of a run depend on beside its settings."""
    from narrows import __version__

    return {
        "narrows": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over names, types, shapes and bytes of the tensors and over the text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        total.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's entries, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, replacing what has that name; copies where links fail."""
    scratch = target.with_name(f".{target.name}.partial")
    scratch.unlink(missing_ok=True)
    try:
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    scratch.replace(target)
    scratch.unlink(missing_ok=True)  # which a rename leaves where both are one file already


def _is_whole(path: Path) -> bool:
    try:
        read_state(path)
    except CheckpointError:
        return False
    return True
