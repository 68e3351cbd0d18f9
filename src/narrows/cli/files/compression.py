"""`narrows compress RUN FILE...` and `narrows decompress RUN FILE...`: data as a run's codes.

Image files of models of images; `.npy` arrays of all others.
"""

import io
import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from narrows.cli import parsing

if TYPE_CHECKING:
    from torch import Tensor

    from narrows.codec import Codec

SUFFIX = ".nrwz"
_EXISTS = "{} exists already; choose another --out"
Search = Callable[[Path], Iterator[tuple[Path, str]]]
"""Finds the files of a folder, each with the reason why it cannot be read or ""."""


def compress(arguments: list[str]) -> int:
    """Writes NAME.nrwz for each file, says how small and how faithful; 1 if some cannot be."""
    from narrows.cli.prior import load
    from narrows.codec import Codec
    from narrows.data.pictures import picture_files

    parser = parsing.parser(
        "compress",
        "Compress image files or folders of any size (cut into tiles of the model's size); arrays "
        ".npy of examples if the model is one of data in their own units.",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("images", type=str, nargs="+", help="image or .npy files, or folders")
    parser.add_argument("--prior", type=str, default=None, help="fitted prior to use")
    parser.add_argument(
        "--lossless",
        type=bool,
        default=False,
        help="keep every pixel: each file is decoded and compared before it is written and success "
        "reported. It needs this model and prior, and is tested to be read under other vector "
        "instructions, threads and batch sizes of one machine (see docs/files.md)",
    )
    _add_out(parser)
    config = parsing.parse(parser, _with_value("--lossless", arguments))
    codec = Codec(load(config.run, config.prior), lossless=config.lossless)

    def write(path: Path, target: Path) -> None:
        if codec.model.takes_images:
            _write_codes(codec, path, target=target, lossless=config.lossless)
        else:
            _write_array(codec, path, target)

    search, what = (picture_files, "pictures") if codec.model.takes_images else (_arrays, "arrays")
    plan = _plan(config.images, config.out, search, (what, SUFFIX))
    return _each(plan, write)


def _with_value(flag: str, words: list[str]) -> list[str]:
    """The words, with `true` for a flag that stands alone."""
    pairs = itertools.pairwise([*words, ""])
    return [f"{w}=true" if w == flag and v not in ("true", "false") else w for w, v in pairs]


def _write_codes(codec: "Codec", path: Path, *, target: Path, lossless: bool) -> None:
    """Compresses one picture, reads it back, and says how small and how faithful it is."""
    import torch

    from narrows.codec import CodecError, Limit
    from narrows.codec.tiles import grid
    from narrows.data.pictures import has_alpha, read_picture
    from narrows.saving.writing import write_bytes

    shape = codec.model.shape
    given = torch.from_numpy(read_picture(path).copy())
    image = torch.from_numpy(read_picture(path, channels=shape[0]).copy())
    count = math.prod(grid(tuple(image.shape), shape))
    asked = {"images": count, "values": count * math.prod(shape)}
    more = {name: n for name, n in asked.items() if n > getattr(Limit(), name)}
    blob = codec.compress(image[None])
    back = codec.decompress(blob, Limit(**more))[0]
    if lossless and not torch.equal(back, image):
        raise CodecError("the file does not decode to the same pixels; nothing was written")
    write_bytes(target, blob)
    grey = bool((given == given[:1]).all())  # though it may be stored as a colour picture
    lost = [("colour", len(given) > len(image) and not grey), ("transparency", has_alpha(path))]
    words = f"; without its {' and '.join(word for word, gone in lost if gone)}"
    error = (back.double() - given).div(255).square().mean()
    psnr = "exact" if error == 0 else f"{-10 * float(error.log10()):.2f} dB"
    psnr += ", as a grey picture" * (grey and len(given) > len(image))
    if any(gone for _, gone in lost):
        psnr = f"{'same pixels over white' if error == 0 else psnr}{words}"
    print(
        f"{target}: {len(blob)} bytes, {8 * len(blob) / given.numel():.4g} bits per value, {psnr}"
    )
    for name, n in more.items():
        print(f"  more than decompress reads unasked: add --limit.{name} {n}")


def _write_array(codec: "Codec", path: Path, target: Path) -> None:
    """Compresses the examples of an array, reads them back, says how small and how faithful."""
    import numpy as np
    import torch

    from narrows.codec import Limit
    from narrows.saving.writing import write_bytes

    given = torch.from_numpy(np.load(path, allow_pickle=False)).float()
    given = given[None] if tuple(given.shape) == codec.model.shape else given
    blob = codec.compress(given)
    back = codec.decompress(blob, Limit(images=len(given), values=given.numel()))
    write_bytes(target, blob)
    error = (back.double() - given).square().mean()
    snr = "exact" if error == 0 else f"{10 * float((given.double().var() / error).log10()):.2f} dB"
    rate = 8 * len(blob) / given.numel()
    print(f"{target}: {len(blob)} bytes, {rate:.4g} bits per value, SNR {snr}")


def decompress(arguments: list[str]) -> int:
    """Writes NAME.png (NAME-1.png, ... of several images) or NAME.npy; 1 if some cannot be."""
    from narrows.cli.prior import load
    from narrows.codec import Codec, CodecError, Limit

    parser = parsing.parser("decompress", "Decompress what narrows compress wrote.")
    parser.add_argument("run", type=str, help="the run's folder that compressed it")
    parser.add_argument("files", type=str, nargs="+", help="files or folders")
    parser.add_argument(
        "--prior", type=str, default=None, help="that compressed it; a wrong one names the right"
    )
    parser.add_argument("--lossless", type=bool, default=False, help="as when compressing")
    _add_out(parser)
    parser.add_class_arguments(Limit, "limit")
    config = parsing.parse(parser, _with_value("--lossless", arguments))
    limit = Limit(**config.limit.as_dict())
    model = load(config.run, config.prior)

    @cache
    def codec() -> Codec:
        return Codec(model, lossless=config.lossless)

    def write(path: Path, target: Path) -> None:
        blob = path.read_bytes()
        try:
            images = codec().decompress(blob, limit)
        except (CodecError, TypeError) as error:
            given = (config.prior, config.lossless)
            raise CodecError(f"{error}{_needed(Path(config.run), blob, given)}") from error
        _save(images, target, pictures=model.takes_images)

    ending = ".png" if model.takes_images else ".npy"
    plan = _plan(config.files, config.out, _compressed, (f"files {SUFFIX}", ending))
    return _each(plan, write)


def _save(images: "Tensor", target: Path, *, pictures: bool) -> None:
    """Writes examples as pictures, one a file, or as one array, and says where."""
    from narrows.saving.writing import write_bytes

    places = _numbered(target, len(images)) if pictures else [target]
    for place in places:
        _check_free(place)
    for content, place in zip(images if pictures else [images], places, strict=True):
        write_bytes(place, _png(content) if pictures else _npy(content))
        print(place)


def _numbered(target: Path, count: int) -> list[Path]:
    """Where each of several images goes; one keeps the name."""
    width = len(str(count))
    names = (f"{target.stem}-{n + 1:0{width}}.png" for n in range(count))
    return [target] if count == 1 else [target.with_name(name) for name in names]


def _needed(run: Path, blob: bytes, given: tuple[str | None, bool]) -> str:
    """What reads a file that --prior and --lossless as given do not; "" if it is damaged."""
    from narrows.cli.prior import load
    from narrows.codec.codec import MODEL, fingerprint
    from narrows.codec.container import CODES, CodecError, unpack

    try:
        header, _ = unpack(blob)
    except CodecError:
        return ""
    own = b""
    for name in (None, *sorted(path.name for path in (run / "priors").glob("*"))):
        try:
            model = load(str(run), name)
        except (ValueError, OSError):
            continue  # a damaged prior is not the one that reads it
        own = fingerprint(model, model.prior)
        if own == header.fingerprint:
            needed = f"--prior {name}" if name else "no --prior"
            if header.mode != CODES:
                needed += " and --lossless true"
            asked = (name, header.mode != CODES)
            return "" if asked == given else f"; this file needs {needed}"
    if own[:MODEL] != header.fingerprint[:MODEL]:
        return f"; it was written by another model than that of {run}: give the run that wrote it"
    return (
        f"; no prior in {run / 'priors'} wrote it, so that one was fitted anew or removed: restore "
        "it, or fit it with the settings and seed of then"
    )


def _add_out(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str, default=None, help="folder; default beside each file")


def _compressed(folder: Path) -> Iterator[tuple[Path, str]]:
    from narrows.data.pictures import files_below

    return files_below(folder, lambda end: "" if end == SUFFIX else None)


def _arrays(folder: Path) -> Iterator[tuple[Path, str]]:
    from narrows.data.pictures import files_below

    return files_below(folder, lambda end: "" if end == ".npy" else None)


def _plan(
    given: list[str], out: str | None, search: Search, kinds: tuple[str, str]
) -> dict[Path, tuple[Path, str]]:
    """Each input, with where its output goes and why it cannot go there or "".

    Two inputs of one folder whose names differ in their ending alone keep it: a.jpg.nrwz. `kinds`
    are what is read, in words, and the ending of what is written.
    """
    what, suffix = kinds
    found: dict[Path, tuple[Path, str]] = {}
    for name in given:
        path = Path(name)
        if not path.is_dir():
            reason = "" if path.exists() else "it does not exist"
            found.setdefault(path, (Path(out) if out else path.parent, reason))
            continue
        for file, reason in search(path):
            place = Path(out) / file.parent.relative_to(path) if out else file.parent
            found.setdefault(file, (place, reason))
    if not found:
        raise FileNotFoundError(f"there are no {what} in {', '.join(given)}")
    stems = Counter((place, file.stem) for file, (place, _) in found.items())
    plan: dict[Path, tuple[Path, str]] = {}
    taken: dict[Path, Path] = {}
    for file, (place, reason) in found.items():
        target = place / f"{file.stem if stems[place, file.stem] == 1 else file.name}{suffix}"
        first = taken.setdefault(target, file)
        if not reason and first != file:
            reason = f"{target} is where {first} goes; choose another --out"
        elif not reason and target.exists():
            reason = _EXISTS.format(target)
        plan[file] = (target, reason)
    return plan


def _check_free(target: Path) -> None:
    if target.exists():
        raise FileExistsError(_EXISTS.format(target))


def _each(plan: dict[Path, tuple[Path, str]], write: Callable[[Path, Path], None]) -> int:
    """Writes what can be written; names what cannot at the end, and returns 1 if there is any."""
    refused = {}
    for path, (target, reason) in plan.items():
        try:
            if reason:
                raise ValueError(reason)
            target.parent.mkdir(parents=True, exist_ok=True)
            write(path, target)
        except (ValueError, OSError, MemoryError) as error:
            refused[path] = str(error) or type(error).__name__
    for path, reason in refused.items():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    if refused:
        print(f"{len(refused)} of {len(plan)} files could not be done", file=sys.stderr)
    return int(bool(refused))


def _npy(values: "Tensor") -> bytes:
    """Examples `[n, ...]` as a `.npy` file."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, values.numpy())
    return content.getvalue()


def _png(image: "Tensor") -> bytes:
    """One uint8 image `[channels, height, width]` as PNG."""
    from PIL import Image

    if image.dim() != 3 or len(image) not in (1, 3):
        raise ValueError(
            f"expected images of 1 or 3 channels, got {tuple(image.shape)}; in Python "
            "nw.Codec gives the values"
        )
    if image.is_floating_point():
        image = image.clamp(0, 1).mul(255).round().byte()
    pixels, content = image.permute(1, 2, 0).numpy(), io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(content, "PNG")
    return content.getvalue()
