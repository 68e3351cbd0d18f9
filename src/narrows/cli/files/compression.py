"""`narrows compress RUN IMAGE...` and `narrows decompress RUN FILE...`: images as a run's codes."""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from narrows.cli import parsing

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".nrwz"


def compress(arguments: list[str]) -> None:
    """Writes NAME.nrwz for each image; says how small and how faithful."""
    import torch

    from narrows.cli.prior import load
    from narrows.codec import Codec
    from narrows.data.pictures import UnusableImageError, endings, read_picture

    parser = parsing.parser(
        "compress",
        "Compress image files or folders of any size (cut into tiles of the model's size).",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("images", type=str, nargs="+", help="image files or folders")
    parser.add_argument("--prior", type=str, default=None, help="a kind fitted by narrows prior")
    parser.add_argument("--lossless", type=bool, default=False, help="keep every pixel")
    _add_out(parser)
    config = parsing.parse(parser, arguments)
    model = load(config.run, config.prior)
    codec = Codec(model, lossless=config.lossless)
    done, refused = 0, []
    for path, target in _targets(config.images, config.out, endings(), SUFFIX):
        try:
            image = torch.from_numpy(read_picture(path, channels=model.shape[0]).copy())[None]
        except UnusableImageError as error:
            refused.append(f"{path}: {error}")
            continue
        blob = codec.compress(image)
        target.write_bytes(blob)
        error = (codec.decompress(blob).float() - image.float()).div(255).square().mean()
        psnr = "exact" if error == 0 else f"{-10 * float(error.log10()):.2f} dB"
        bits = 8 * len(blob) / image.numel()
        print(f"{target}: {len(blob)} bytes, {bits:.4g} bits per value, {psnr}")
        done += 1
    _finish(done, refused)


def decompress(arguments: list[str]) -> None:
    """Writes NAME.png for each file."""
    from narrows.cli.prior import load
    from narrows.codec import Codec, CodecError, Limit

    parser = parsing.parser("decompress", "Decompress what narrows compress wrote, to PNG.")
    parser.add_argument("run", type=str, help="the run's folder that compressed it")
    parser.add_argument("files", type=str, nargs="+", help="files or folders")
    parser.add_argument("--prior", type=str, default=None, help="the kind that compressed it")
    parser.add_argument("--lossless", type=bool, default=False, help="as when compressing")
    _add_out(parser)
    parser.add_class_arguments(Limit, "limit")
    config = parsing.parse(parser, arguments)
    limit = Limit(**config.limit.as_dict())
    codec = Codec(load(config.run, config.prior), lossless=config.lossless)
    done, refused = 0, []
    for path, target in _targets(config.files, config.out, {SUFFIX}, ".png"):
        try:
            images = codec.decompress(path.read_bytes(), limit)
        except CodecError as error:
            refused.append(f"{path}: {error}")
            continue
        _write_png(target, images[0])
        print(target)
        done += 1
    _finish(done, refused)


def _add_out(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str, default=None, help="folder; default beside each file")


def _targets(
    given: list[str], out: str | None, suffixes: Set[str], suffix: str
) -> Iterator[tuple[Path, Path]]:
    """Each input file and where its output goes.

    Raises:
        FileNotFoundError: if a path does not exist or no folder holds such files.
        FileExistsError: if the output is there already.
    """
    found = False
    for name in given:
        path = Path(name)
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        for file in inside if path.is_dir() else [path]:
            found = True
            folder = file.parent
            if out is not None:
                folder = Path(out) / (file.parent.relative_to(path) if path.is_dir() else "")
                folder.mkdir(parents=True, exist_ok=True)
            target = folder / f"{file.stem}{suffix}"
            if target.exists():
                raise FileExistsError(f"{target} exists already; choose another --out")
            yield file, target
    if not found:
        raise FileNotFoundError(f"no files with {', '.join(sorted(suffixes))} in {given}")


def _finish(done: int, refused: list[str]) -> None:
    """Names what could not be read; a failure if nothing could."""
    for line in refused:
        print(f"skipped {line}")
    if refused and not done:
        raise ValueError(f"none of {len(refused)} files could be read")


def _write_png(target: Path, image: "Tensor") -> None:
    """One uint8 image `[channels, height, width]` as PNG."""
    from PIL import Image

    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(target)
