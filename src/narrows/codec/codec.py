"""Images to bytes and back with any model."""

import hashlib
import json
import math
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from narrows.codec import bits_back, container, tiles
from narrows.codec.codes import transfer
from narrows.codec.container import BITS_BACK, CODES, RESIDUAL, CodecError, Header, Limit
from narrows.codec.deterministic import groups, in_one_group, steady
from narrows.codec.entropy import Channel, Reader, Writer
from narrows.codec.pixels import walk_pixels
from narrows.codes import Atoms, Code, apply, concatenate, length, parts_of, rows, tensors, to
from narrows.functional.fixed_point import tables_checksum
from narrows.priors.base import Prior
from narrows.priors.factorial import Factorial
from narrows.priors.joint import JointPrior
from narrows.priors.spike_and_slab import SpikeAndSlabPrior
from narrows.recorded import spec

_RANDOM = (Factorial, SpikeAndSlabPrior)  # price random codes
_GROUP = 256  # codes whose symbols are walked through together
LIMIT = Limit()


class Codec:
    """compress(images) -> bytes whose size is the code's rate; decompress(bytes) -> images.

    A file holds the model's codes under its prior (`mode` codes): decompressing gives
    `model.decode(code)`. With `lossless=True` the pixels come back exactly: codes and the image
    given its code under the model's likelihood, by bits-back where the code is random.

    Images of another size than the model's are cut into tiles. The codes read are those
    written whatever the number of threads or the batch size, as priors are evaluated in
    exact arithmetic; both checks of a file (of its bytes and of its codes) must hold.

    Args:
        model: a trained `Autoencoder`.
        prior: what to code with; default the model's own. For a variational model, whose own
            prior codes random codes, give a `QuantizedHistogram` fitted to training codes.
        lossless: keep the pixels exactly.

    Raises:
        TypeError: if the prior or likelihood cannot be used so.

    Example:
        >>> import narrows as nw
        >>> data = nw.data.load("digits")
        >>> model = nw.Autoencoder.for_images(data.shape, nw.bottlenecks.VectorQuantizer(16, 8))
        >>> images = data.test.images[:10]
        >>> blob = Codec(model).compress(images)
        >>> Codec(model).decompress(blob).shape == images.shape
        True
    """

    def __init__(self, model: Any, prior: Prior | None = None, lossless: bool = False) -> None:
        self.model = model
        self.prior: Prior = model.prior if prior is None else prior
        self.mode = CODES
        if lossless:
            self.mode = BITS_BACK if isinstance(self.prior, _RANDOM) else RESIDUAL
            if len(model.shape) != 3:
                raise TypeError("lossless coding is for images, this model is for vectors")
        elif isinstance(self.prior, _RANDOM):
            transfer(self.prior, Writer(), 0, None)  # says what to do instead
        self.fingerprint = _fingerprint(model, self.prior)

    @torch.no_grad()
    def compress(self, images: Tensor) -> bytes:
        """Bytes of images `[n, *shape]`: uint8, or float in [0, 1] (vectors: any float).

        Raises:
            ValueError: if the images do not fit the model, or are not 8-bit where they must be.
        """
        images, shape, floating = self._accept(images)
        n = images.shape[0]
        training = self.model.training
        self.model.eval()
        try:
            check, payload = self._write(images, floating)
        finally:
            self.model.train(training)
        count = n // _tiles_each(shape, self.model.shape)
        header = Header(self.mode, floating, self.fingerprint, count, shape, check)
        return container.pack(header, payload)

    @torch.no_grad()
    def decompress(self, blob: bytes, limit: Limit = LIMIT) -> Tensor:
        """The images of a file, in the type they were given in.

        Args:
            blob: what `compress` returned.
            limit: refuse files that say they hold more.

        Raises:
            CodecError: if the bytes are no whole file of this very model and prior, or too big.
        """
        header, payload = container.unpack(blob)
        n = self._refuse(header, limit)
        training = self.model.training
        self.model.eval()
        try:
            images = self._read(header, payload, n)
        finally:
            self.model.train(training)
        if not header.floating and header.mode == CODES:
            images = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        elif header.mode != CODES:
            images = images.float() / 255 if header.floating else images.to(torch.uint8)
        return tiles.join(images, header.shape) if len(header.shape) == 3 else images

    @torch.no_grad()
    def codes(self, blob: bytes, limit: Limit = LIMIT) -> Code:
        """The codes of a file, without decoding them to images.

        Raises:
            CodecError: as `decompress`; or if the file is a bits-back one, which holds none.
        """
        header, payload = container.unpack(blob)
        n = self._refuse(header, limit)
        if header.mode == BITS_BACK:
            raise CodecError("a bits-back file holds images, not codes")
        return self._read_codes(Reader(payload), n, header.code_check)

    @staticmethod
    def header_bits(blob: bytes) -> int:
        """Bits of a file that no code pays for: the container, and the first words of bits-back.

        Raises:
            CodecError: if the bytes are no whole file.
        """
        header, payload = container.unpack(blob)
        bits = 8 * container.overhead(len(header.shape))
        if header.mode == BITS_BACK:
            bits += 32 * (1 + bits_back.first_words(payload))
        return bits

    def _write(self, images: Tensor, floating: bool) -> tuple[int, bytes]:
        unit = images if floating else images.float() / 255
        if self.mode == BITS_BACK:
            levels = _levels(unit)
            return _pixel_check(levels), bits_back.write(self.model, self._random, levels)
        writer = Writer()
        code = self._encode(unit)
        self._transfer(writer, len(images), code)
        check = _code_check(self.prior, code)
        if self.mode == RESIDUAL:
            levels = _levels(unit)
            check ^= _pixel_check(self._residual(writer, code, levels, len(images)))
        return check, writer.finish()

    def _read(self, header: Header, payload: bytes, n: int) -> Tensor:
        if header.mode == BITS_BACK:
            levels = bits_back.read(self.model, self._random, payload, n)
            if _pixel_check(levels) != header.code_check:
                raise CodecError("the images read are not those written; another machine or build?")
            return levels
        reader = Reader(payload)
        if header.mode == CODES:
            return self._decode(self._read_codes(reader, n, header.code_check))
        code = self._transfer(reader, n, None)
        levels = self._residual(reader, code, None, n)
        reader.finish()
        if _code_check(self.prior, code) ^ _pixel_check(levels) != header.code_check:
            raise CodecError("the images read are not those written; another machine or build?")
        return levels

    def _read_codes(self, reader: Reader, n: int, check: int) -> Code:
        code = self._transfer(reader, n, None)
        reader.finish()
        if _code_check(self.prior, code) != check:
            raise CodecError("the codes read are not those written; another machine or build?")
        return code

    @property
    def _random(self) -> Factorial | SpikeAndSlabPrior:
        assert isinstance(self.prior, _RANDOM)
        return self.prior

    def _transfer(self, channel: Channel, n: int, code: Code | None) -> Code:
        """All codes, in groups, so that memory does not grow with their number."""
        parts = []
        for start in range(0, max(n, 1), _GROUP):
            part = slice(start, min(start + _GROUP, n))
            given = None if code is None else rows(code, part)
            parts.append(transfer(self.prior, channel, part.stop - part.start, given))
        return concatenate(parts)

    def _residual(self, channel: Channel, code: Code, levels: Tensor | None, n: int) -> Tensor:
        """Pixels given the code, under the likelihood; written and read alike."""
        out = torch.zeros(n, *self.model.shape, dtype=torch.long)
        device = next(self.model.parameters()).device
        with steady():
            for part in groups(n):
                z = self.model.bottleneck.embed(to(rows(code, part), device))
                output = in_one_group(self.model.decoder, z)
                known = None if levels is None else levels[part]
                out[part] = walk_pixels(
                    self.model.likelihood, output, known, lambda w, s: channel.each(s, w)
                )
        return out

    def _encode(self, unit: Tensor) -> Code:
        device = next(self.model.parameters()).device
        parts = []
        for start in range(0, max(len(unit), 1), _GROUP):
            latent = self.model.latent(unit[start : start + _GROUP].to(device))
            parts.append(to(self.prior.quantize(latent.code), torch.device("cpu")))
        return concatenate(parts)

    def _decode(self, code: Code) -> Tensor:
        device = next(self.model.parameters()).device
        parts = [
            self.model.decode(to(rows(code, slice(s, s + _GROUP)), device)).cpu()
            for s in range(0, max(length(code), 1), _GROUP)
        ]
        return torch.cat(parts)

    def _accept(self, images: Tensor) -> tuple[Tensor, tuple[int, ...], bool]:
        """The model's examples (tiles), the shape as given, and whether values are floating."""
        own = tuple(self.model.shape)
        if images.dim() != len(own) + 1:
            raise ValueError(
                f"expected [n, {', '.join(map(str, own))}], got shape {tuple(images.shape)}"
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"expected uint8 or floating-point values, got {images.dtype}")
        floating = images.is_floating_point()
        shape = tuple(images.shape[1:])
        if floating and not bool(images.isfinite().all()):
            raise ValueError("expected finite values, got NaN or infinite ones")
        if len(own) == 1:
            if shape != own or not floating:
                raise ValueError(f"expected float vectors [n, {own[0]}], got {tuple(images.shape)}")
            return images.float(), shape, True
        if floating and images.numel() and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError("expected floating-point images in [0, 1]; divide 8-bit ones by 255")
        images = images.float() if floating else images
        return tiles.cut(images.cpu(), own), shape, floating

    def _refuse(self, header: Header, limit: Limit) -> int:
        """Refuses a header that does not fit; returns the number of the model's examples."""
        if header.fingerprint != self.fingerprint:
            raise CodecError(
                f"written with another model or prior (fingerprint {header.fingerprint.hex()}, "
                f"this one's is {self.fingerprint.hex()}); use the one that compressed it"
            )
        if header.mode != self.mode:
            raise CodecError("written with another mode; give lossless as when compressing")
        own = tuple(self.model.shape)
        if len(header.shape) != len(own) or (len(own) == 1 and header.shape != own):
            raise CodecError(f"examples of shape {header.shape}, this model's are {own}")
        if len(own) == 3 and (header.shape[0] != own[0] or min(header.shape) < 1):
            raise CodecError(f"examples of shape {header.shape}, this model's are {own}")
        n = header.count * _tiles_each(header.shape, own)
        limit.check(n, own)
        return n


def _tiles_each(shape: tuple[int, ...], own: tuple[int, ...]) -> int:
    return math.prod(tiles.grid(shape, tuple(own))) if len(shape) == 3 else 1


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


def _code_check(prior: Prior, code: Code, check: int = 0) -> int:
    """CRC-32 of a code in canonical form: padding beyond its widest example cut off."""
    if isinstance(prior, JointPrior):
        for part, own in zip(prior.parts, parts_of(code, len(prior.parts)), strict=True):
            assert isinstance(part, Prior)
            check = _code_check(part, own, check)
        return check
    if isinstance(code, Atoms):
        width = int((code.values != 0).sum(-1).max()) if code.values.numel() else 0
        code = apply(lambda part: part[..., :width], code)
    for part in tensors(code):
        part = part.float() + 0.0 if part.is_floating_point() else part.long()  # -0 becomes 0
        check = zlib.crc32(np.ascontiguousarray(part.cpu().numpy()).tobytes(), check)
    return check


def _fingerprint(model: Any, prior: Prior) -> bytes:
    """Names model and prior: their parts, every weight, and the tables of exact arithmetic."""
    parts = [spec(part) for part in (model.network, model.bottleneck, model.likelihood, prior)]
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([list(model.shape), *parts], sort_keys=True).encode())
    digest.update(tables_checksum().to_bytes(4, "little"))
    for module in (model.encoder, model.bottleneck, model.decoder, model.likelihood, prior):
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
