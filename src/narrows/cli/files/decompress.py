"""`narrows decompress RUN FILE...`: what `narrows compress` wrote, back to PNG."""

from pathlib import Path

from narrows.cli import parsing


def run(arguments: list[str]) -> None:
    """Writes NAME.png for each file."""
    from narrows.cli.files.compress import SUFFIX, finish, targets
    from narrows.cli.prior import load
    from narrows.codec import Codec, CodecError, Limit

    parser = parsing.parser("decompress", "Decompress what narrows compress wrote, to PNG.")
    parser.add_argument("run", type=str, help="the run's folder that compressed it")
    parser.add_argument("files", type=str, nargs="+", help="files or folders")
    parser.add_argument("--prior", type=str, default=None, help="the kind that compressed it")
    parser.add_argument("--lossless", type=bool, default=False, help="as when compressing")
    parser.add_argument("--out", type=str, default=None, help="folder; default beside each file")
    parser.add_class_arguments(Limit, "limit")
    config = parsing.parse(parser, arguments)
    limit = Limit(**config.limit.as_dict())
    codec = Codec(load(config.run, config.prior), lossless=config.lossless)
    done, refused = 0, []
    for path, target in targets(config.files, config.out, {SUFFIX}, ".png"):
        try:
            images = codec.decompress(path.read_bytes(), limit)
        except CodecError as error:
            refused.append(f"{path}: {error}")
            continue
        write_png(target, images[0].numpy())
        print(target)
        done += 1
    finish(done, refused)


def write_png(target: Path, image: object) -> None:
    """One uint8 image `[channels, height, width]` as PNG."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image).transpose(1, 2, 0)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(target)
