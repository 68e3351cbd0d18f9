"""The one error that bad compressed data cause."""


class CodecError(ValueError):
    """These bytes are not what `Codec.compress` wrote for this model, or not whole."""
