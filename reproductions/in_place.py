"""Rectifiers that work in place, as the documents' networks have them."""

from dataclasses import dataclass

from torch import nn

from narrows.networks import Network


@dataclass(eq=False, repr=False)
class InPlace(Network):
    """A network whose rectifiers overwrite their input.

    A residual block that begins with one then adds to relu(x), not to x: x + f(x) as it is
    written in the code of documents 000 and 003 is relu(x) + f(relu(x)) as it runs.

    Args:
        network: that is changed so.

    Example:
        >>> from narrows.networks import ResNet
        >>> encoder = InPlace(ResNet(hidden=4)).encoder((1, 8, 8), features=2)
    """

    network: Network

    def sites(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The network's."""
        return self.network.sites(shape)

    def encoder(self, shape: tuple[int, ...], features: int) -> nn.Module:
        """The network's, changed."""
        return _overwriting(self.network.encoder(shape, features))

    def decoder(self, shape: tuple[int, ...], features: int, *, channels: int) -> nn.Module:
        """The network's, changed."""
        return _overwriting(self.network.decoder(shape, features, channels=channels))


def _overwriting(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = True
    return module
