"""Images to bytes and back with any model."""

import hashlib
import json
import math
import zlib
from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from narrows.autoencoder import Autoencoder
from narrows.codec import bits_back, container, tiles
from narrows.codec.container import BITS_BACK, CODES, RESIDUAL, CodecError, Header, Limit
from narrows.codec.entropy import Reader, Writer
from narrows.codec.rounding import Networks, Rounding
from narrows.codes import Code, concatenate, length, rows, tensors, to, trimmed
from narrows.functional.conditionals import Choose, follow
from narrows.functional.fixed_point import tables_checksum
from narrows.modes import evaluating
from narrows.priors.base import Prior
from narrows.priors.factorial import Independent
from narrows.recorded import spec
from narrows.saving.arguments import check_arguments

_GROUP = 256  # codes whose symbols are walked through together
MODEL = 5  # bytes of a fingerprint that name the model
LIMIT = Limit()


class Codec:
    """compress(images) -> bytes whose size is the code's rate; decompress(bytes) -> images.

    A file holds the model's codes under its prior (`mode` codes): decompressing gives
    `model.decode(code)`. With `lossless=True` the pixels come back exactly: codes and the image
    given its code under the model's likelihood, by bits-back where the code is random.

    Any prior that has `conditionals` will do. Images of another size than the model's are cut
    into tiles. The codes read are those written whatever the number of threads or the batch size,
    as priors are evaluated in exact arithmetic; both checks of a file (of its bytes and of its
    codes) must hold.

    Args:
        model: a trained model.
        prior: what to code with; default the model's own. For a variational model, whose own
            prior codes random codes, give a `QuantizedHistogram` fitted to training codes.
        lossless: keep the pixels exactly.

    Raises:
        TypeError: if the prior does not fit the model's codes or cannot write them, or, for
            lossless files, if the likelihood does not give 256 levels.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.VectorQuantizer(16, 8))
        >>> images = data.test.images[:10]
        >>> blob = Codec(model).compress(images)
        >>> Codec(model).decompress(blob).shape == images.shape
        True
    """

    def __init__(
        self, model: Autoencoder, prior: Prior | None = None, *, lossless: bool = False
    ) -> None:
        check_arguments("Codec", Codec.__init__, given={"model": model, "prior": prior})
        self.model = model
        self.prior: Prior = model.prior if prior is None else prior
        space = model.bottleneck.codes
        self.prior.check_fits(space, space.grid(model.sites))
        if lossless and (len(model.shape) != 3 or not model.likelihood.gives_levels):
            raise TypeError(
                "lossless coding is for images, not vectors, and needs a likelihood of 256 levels "
                "(DiscretizedLogisticMixture, Categorical256 or Normal); this model has examples "
                f"of shape {model.shape} and {type(model.likelihood).__name__}"
            )
        self.mode = RESIDUAL if lossless else CODES
        self._networks = Networks(model) if lossless else None
        self._random: bits_back.BitsBack | None = None
        if self._networks is not None and isinstance(self.prior, Independent):
            self.mode = BITS_BACK
            self._random = bits_back.BitsBack(self._networks, self.prior)
        else:
            self.prior.conditionals(0)  # refuses where codes cannot be written
        self.fingerprint: bytes = fingerprint(model, self.prior)

    @torch.no_grad()
    def compress(self, images: Tensor) -> bytes:
        """Bytes of images `[n, *shape]`: uint8, or float in [0, 1] (data in own units: any float).

        A lossless file has been read back and compared when it is returned.

        Raises:
            CodecError: if a lossless file does not give back its images on this machine.
            ValueError: if the images do not fit the model, or are not 8-bit where they must be.
        """
        images, shape, floating = self._accept(images)
        unit = images if floating else images.float() / 255
        count = len(images) // _tiles_each(shape, self.model.shape)
        with evaluating(self.model):
            check, payload, notes = self._write(unit)
            header = Header(self.mode, floating, self.fingerprint, count, shape, check, notes)
            if self.mode != CODES and not torch.equal(
                self._read(header, payload, len(unit)), _levels(unit)
            ):
                raise CodecError("the images read back are not those written")
        return container.pack(header, payload)

    @torch.no_grad()
    def decompress(self, blob: bytes, limit: Limit = LIMIT) -> Tensor:
        """The images of a file, in the type they were given in.

        Args:
            blob: what `compress` returned.
            limit: refuse files that say they hold more.

        Raises:
            CodecError: if the bytes are not a whole file of this model and prior, or too big.
        """
        header, payload = container.unpack(blob)
        n = self._refuse(header, limit)
        with evaluating(self.model):
            images = self._read(header, payload, n)
        if not header.floating and header.mode == CODES:
            images = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        elif header.mode != CODES:
            images = images.float() / 255 if header.floating else images.to(torch.uint8)
        return tiles.join(images, header.shape) if len(header.shape) == 3 else images

    @torch.no_grad()
    def codes(self, blob: bytes, limit: Limit = LIMIT) -> Code:
        """The codes of a file, without decoding them to images.

        Raises:
            CodecError: as `decompress`; or if the file is a lossless one.
        """
        header, payload = container.unpack(blob)
        n = self._refuse(header, limit)
        if header.mode != CODES:
            raise CodecError("a lossless file holds images; decompress it and encode them")
        reader = Reader(payload, Rounding(header.notes))
        code = self._walk(reader.take, n)
        reader.finish()
        self._compare(header, _code_check(code))
        return code

    @staticmethod
    def header_bits(blob: bytes) -> int:
        """Bits of a file that no code pays for: the container, and the first words of bits-back.

        Raises:
            CodecError: if the bytes are not a whole file.
        """
        header, payload = container.unpack(blob)
        bits = 8 * container.overhead(len(header.shape))
        if header.mode == BITS_BACK:
            bits += 32 * (1 + bits_back.first_words(payload))
        return bits

    def expected_bits(self, images: Tensor) -> float:
        """Bits that a bits-back file of images `[n, *shape]`, uint8, should take past its header.

        The sum of KL(q || p) - log2 p(x | z) over the images, with one draw z from q for each.

        Raises:
            TypeError: if this codec's files are of another kind.
        """
        if self._random is None:
            raise TypeError("only bits-back files have this estimate; otherwise ask prior.rate")
        with evaluating(self.model):
            return self._random.expected(images.long())

    def _write(self, unit: Tensor) -> tuple[int, bytes, bytes]:
        """Check, payload and notes of examples in the model's own shape."""
        if self._random is not None:
            levels = _levels(unit)
            return _pixel_check(levels), *self._random.write(levels)
        writer = Writer()
        code = self._encode(unit)
        self._walk(writer.put, len(unit), code)
        check = _code_check(code)
        if self._networks is not None:
            levels = _levels(unit)
            check ^= _pixel_check(self._residual(writer, code, levels))
        return check, writer.finish(), writer.rounding.notes()

    def _read(self, header: Header, payload: bytes, n: int) -> Tensor:
        """The examples of a payload, in the model's own shape: levels where it is lossless."""
        if self._random is not None:
            levels = self._random.read(payload, header.notes, n=n)
            self._compare(header, _pixel_check(levels))
            return levels
        reader = Reader(payload, Rounding(header.notes))
        code = self._walk(reader.take, n)
        found, levels = _code_check(code), None
        if self._networks is not None:
            levels = self._residual(reader, code)
            found ^= _pixel_check(levels)
        reader.finish()
        self._compare(header, found)
        return self._decode(code) if levels is None else levels

    def _compare(self, header: Header, check: int) -> None:
        if header.code_check != check:
            raise CodecError(
                "what was read is not what was written: damaged on purpose, or this machine "
                "computes otherwise than the writer's by more than rounding errors"
            )

    def _walk(self, choose: Choose, n: int, code: Code | None = None) -> Code:
        """All codes, in groups, so that memory does not grow with their number."""
        parts, device = [], _device(self.prior)
        for part in _slices(n):
            known = None if code is None else to(rows(code, part), device)
            walk = self.prior.conditionals(part.stop - part.start, known)
            parts.append(to(follow(walk, choose), "cpu"))
        return concatenate(parts)

    def _residual(self, coder: Writer | Reader, code: Code, levels: Tensor | None = None) -> Tensor:
        """Pixels given the code, under the likelihood; written and read alike."""
        assert self._networks is not None
        likelihood = self._networks.model.likelihood
        choose = coder.put if isinstance(coder, Writer) else coder.take
        found = torch.zeros(length(code), *self.model.shape, dtype=torch.long)
        for part in _slices(len(found), bits_back.GROUP):
            output = self._networks.output(to(rows(code, part), "cpu"), coder.rounding)
            known = None if levels is None else levels[part]
            found[part] = follow(likelihood.level_conditionals(output, known), choose)
        return found

    def _encode(self, unit: Tensor) -> Code:
        xs = (x.to(_device(self.model)) for x in unit.split(_GROUP))
        return concatenate([to(self.prior.quantize(self.model.latent(x).code), "cpu") for x in xs])

    def _decode(self, code: Code) -> Tensor:
        codes = (to(rows(code, part), _device(self.model)) for part in _slices(length(code)))
        return torch.cat([self.model.decode(part).cpu() for part in codes])

    def _accept(self, images: Tensor) -> tuple[Tensor, tuple[int, ...], bool]:
        """The model's examples (tiles), the shape as given, and whether values are floating."""
        if not isinstance(images, Tensor):
            raise TypeError(
                f"expected a torch tensor, got {type(images).__name__}; convert with "
                "torch.as_tensor(...)"
            )
        own, shape, floating = self.model.shape, tuple(images.shape[1:]), images.is_floating_point()
        tiled = self.model.takes_images
        if len(shape) != len(own) or (not tiled and shape != own):
            raise ValueError(f"expected [n, {', '.join(map(str, own))}], got {list(images.shape)}")
        if not floating and (images.dtype != torch.uint8 or not tiled):
            raise ValueError(
                f"expected floating-point values, or uint8 in images, got {images.dtype}"
            )
        if floating and not bool(images.isfinite().all()):
            raise ValueError("expected finite values, got NaN or infinite ones")
        if not tiled:
            return images.float(), shape, True
        if floating and images.numel() and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError("expected floating-point images in [0, 1]; divide 8-bit ones by 255")
        images = images.float() if floating else images
        return tiles.cut(images.cpu(), own), shape, floating

    def _refuse(self, header: Header, limit: Limit) -> int:
        """Refuses a header that does not fit; returns the number of the model's examples."""
        if header.fingerprint != self.fingerprint:
            same = header.fingerprint[:MODEL] == self.fingerprint[:MODEL]
            raise CodecError(
                f"written with {'this model and ' * same}another {'model or ' * (not same)}prior "
                f"(fingerprint {header.fingerprint.hex()}, this one's is {self.fingerprint.hex()}, "
                f"its prior {type(self.prior).__name__}); use the one that compressed it"
            )
        if header.mode != self.mode:
            raise CodecError("written with another mode; give lossless as when compressing")
        own = self.model.shape
        fits = header.shape[0] == own[0] and len(header.shape) == len(own)
        if not self.model.takes_images:
            fits = header.shape == own
        if not fits or min(header.shape) < 1:
            raise CodecError(f"examples of shape {header.shape}, this model's are {own}")
        each = _tiles_each(header.shape, own)
        limit.check(max(header.count, 1) * each, own)  # a shape counts without images, too
        return header.count * each


def _slices(n: int, size: int = _GROUP) -> list[slice]:
    """Groups of n codes; one where there is none."""
    return [slice(start, min(start + size, n)) for start in range(0, max(n, 1), size)]


def _tiles_each(shape: tuple[int, ...], own: tuple[int, ...]) -> int:
    return math.prod(tiles.grid(shape, own)) if len(shape) == 3 else 1


def _device(part: nn.Module) -> torch.device:
    held = chain(part.parameters(), part.buffers())
    return next((tensor.device for tensor in held), torch.device("cpu"))


def _levels(unit: Tensor) -> Tensor:
    """Images in 0..255.

    Raises:
        ValueError: if they are not 8-bit values divided by 255.
    """
    levels = (unit * 255).round()
    if not torch.allclose(levels / 255, unit, rtol=0, atol=1e-6):
        raise ValueError("lossless coding is for 8-bit images (uint8, or multiples of 1/255)")
    return levels.long().cpu()


def _pixel_check(levels: Tensor) -> int:
    return zlib.crc32(levels.to(torch.uint8).contiguous().numpy().tobytes())


def _code_check(code: Code) -> int:
    """CRC-32 of a code in canonical form: padding beyond its widest example cut off."""
    check = 0
    for part in tensors(trimmed(code)):
        part = part.float() + 0.0 if part.is_floating_point() else part.long()  # -0 becomes 0
        check = zlib.crc32(np.ascontiguousarray(part.cpu().numpy()).tobytes(), check)
    return check


def fingerprint(model: Autoencoder, prior: Prior) -> bytes:
    """Names the model in 5 bytes and the prior in 3, by their parts and every weight."""
    parts = [model.encoder, model.bottleneck, model.decoder, model.likelihood]
    specs = [spec(part) for part in (model.network, model.bottleneck, model.likelihood)]
    own = _digest([list(model.shape), *specs], parts)
    return own[:MODEL] + _digest([spec(prior), tables_checksum()], [prior])[: 8 - MODEL]


def _digest(description: object, modules: Iterable[nn.Module]) -> bytes:
    digest = hashlib.blake2b(json.dumps(description, sort_keys=True).encode(), digest_size=8)
    for module in modules:
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
