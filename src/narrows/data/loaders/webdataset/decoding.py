"""The pictures of a tar file, decoded once into 8-bit shards."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from narrows.data.checks import extent
from narrows.data.pictures import UnusableImageError, read_picture
from narrows.data.reading.listed import Listed
from narrows.data.reading.tars import Member, members
from narrows.saving.weights import write_weights
from narrows.saving.writing import read_json, write_json

Picture: TypeAlias = NDArray[np.uint8]
_BYTES = 1 << 26  # of the pictures in a shard


@dataclass(frozen=True)
class Decoding:
    """How pictures become examples.

    Attributes:
        size: height and width, or None for those of the pictures.
        channels: 1 or 3, or None for the pictures' own.
        picture: ending of the pictures to take, where examples have several.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    picture: str | None = None


@dataclass
class Decoded:
    """What became of a tar file.

    Attributes:
        shards: entries of `Listed`, each with "extent" and "shape" (of one example).
        labels: of the examples kept; None for one that has none.
        skipped: examples left out, each with the reason.
        endings: of what was not read.
    """

    shards: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)


def decode(path: Path, place: Path, *, how: Decoding) -> Decoded:
    """Decodes a tar file into shards PLACE-N.safetensors, unless that was done before.

    What is known of it is written last, so that a decoding that was stopped is done again.

    Raises:
        ValueError: if the file is damaged, or an example has several pictures.
    """
    told = place.with_suffix(".json")
    if told.is_file():
        content = read_json(told, f"remove {place.parent}, and they are decoded again")
        return Decoded(**{name: content[name] for name in Decoded.__annotations__})
    found, held = Decoded(), list[Picture]()
    for name, picture, label in _pictures(path, how, found):
        if held and picture.shape[1:] != held[0].shape[1:]:
            sizes = [f"{one.shape[2]}x{one.shape[1]}" for one in (held[0], picture)]
            raise ValueError(
                f"the pictures have different sizes, such as {' and '.join(sizes)} ({name} of "
                f"{path}); pass size=N to scale and crop them to NxN"
            )
        held.append(picture)
        found.labels.append(label)
        if sum(one.nbytes for one in held[-1:]) * len(held) >= _BYTES:
            found.shards.append(_write(place, len(found.shards), held))
            held = held[:0]
    if held:
        found.shards.append(_write(place, len(found.shards), held))
    write_json(told, asdict(found))
    return found


def is_decoded(places: Iterable[Path]) -> bool:
    """Whether nothing is left to decode."""
    return all(place.with_suffix(".json").is_file() for place in places)


def _pictures(
    path: Path, how: Decoding, found: Decoded
) -> Iterator[tuple[str, Picture, str | None]]:
    """The usable pictures of a tar file, with their names and labels."""
    for member in members(path):
        chosen = _chosen(member, path, how.picture)
        if chosen is None:
            found.endings += [end for end in member.others if end not in found.endings]
            found.skipped.append(f"{member.name} of {path.name}: no picture")
            continue
        try:
            picture = read_picture(io.BytesIO(chosen), how.size, channels=how.channels)
        except UnusableImageError as error:
            found.skipped.append(f"{member.name} of {path.name}: {error}")
            continue
        yield member.name, picture, member.label


def _chosen(member: Member, path: Path, picture: str | None) -> bytes | None:
    """The content of the one picture of an example, or None."""
    if picture is not None:
        return member.pictures.get(picture.lower().lstrip("."))
    if len(member.pictures) > 1:
        raise ValueError(
            f"{path}: {member.name} has several pictures ({', '.join(member.pictures)}); say by "
            "picture=ENDING which to take"
        )
    return next(iter(member.pictures.values()), None)


def _write(place: Path, number: int, held: Sequence[Picture]) -> dict[str, Any]:
    """Writes pictures of one size as a shard, in colour if any is; says what it holds."""
    channels = max(len(picture) for picture in held)
    size = held[0].shape[1:]
    examples = np.stack([np.broadcast_to(one, (channels, *size)) for one in held])
    path = place.with_name(f"{place.name}-{number:05}.safetensors")
    checksum = write_weights(path, {"examples": torch.from_numpy(examples)})
    entry = Listed(path.name, len(examples), path.stat().st_size, checksum)
    return {**asdict(entry), "shape": list(examples.shape[1:]), "extent": list(extent([examples]))}
