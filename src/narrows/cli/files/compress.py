"""`narrows compress RUN IMAGE...`: image files to the model's codes, as small as their rate."""

from collections.abc import Iterator
from pathlib import Path

from narrows.cli import parsing

SUFFIX = ".nrwz"
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def run(arguments: list[str]) -> None:
    """Writes NAME.nrwz for each image; says how small and how faithful."""
    import torch

    from narrows.cli.prior import load
    from narrows.codec import Codec
    from narrows.data.pictures import UnusableImageError, read_picture

    parser = parsing.parser(
        "compress",
        "Compress image files or folders of any size (cut into tiles of the model's size).",
    )
    parser.add_argument("run", type=str, help="a run's folder")
    parser.add_argument("images", type=str, nargs="+", help="image files or folders")
    parser.add_argument("--prior", type=str, default=None, help="a kind fitted by narrows prior")
    parser.add_argument("--lossless", type=bool, default=False, help="keep every pixel")
    parser.add_argument("--out", type=str, default=None, help="folder; default beside each image")
    config = parsing.parse(parser, arguments)
    model = load(config.run, config.prior)
    codec = Codec(model, lossless=config.lossless)
    done, refused = 0, []
    for path, target in targets(config.images, config.out, PICTURES, SUFFIX):
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
    finish(done, refused)


def targets(
    given: list[str], out: str | None, suffixes: set[str], suffix: str
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


def finish(done: int, refused: list[str]) -> None:
    """Names what could not be read; a failure if nothing could.

    Raises:
        ValueError: if no file was readable.
    """
    for line in refused:
        print(f"skipped {line}")
    if refused and not done:
        raise ValueError(f"none of {len(refused)} files could be read")
