"""Encoders and decoders, side by side."""

from narrows.networks.base import Network
from narrows.networks.conv import Conv
from narrows.networks.direct import Direct
from narrows.networks.mlp import Mlp
from narrows.networks.pairs import Pairs
from narrows.networks.resnet import ResNet
from narrows.networks.transformer import Transformer

__all__ = ["Conv", "Direct", "Mlp", "Network", "Pairs", "ResNet", "Transformer"]
