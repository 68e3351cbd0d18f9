"""Data in any unit, seen by the networks in that of the training set."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x - mean) / scale, with statistics that are saved with the model; at first the identity.

    The mean is each feature's own. The scale is one for all features, so that distances, and with
    them errors, keep their proportions. Features are the channels of `(channels, height, width)`,
    the numbers of a vector, and of a sequence the axis that is named.

    Args:
        shape: of one example.
        axis: of the features of a sequence, 0 or 1; None if the data say it when they are learned.
        inputs: leading numbers of a vector that have a scale of their own; 0 for none.

    Example:
        >>> x = torch.tensor([[1000.0, 2.0], [1002.0, 2.0]])
        >>> part = Standardize((2,))
        >>> part.learn(x.mean(0), variance=0.5)
        >>> part(x)[0, 0].item()
        -1.4142135381698608
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...], axis: int | None = None, *, inputs: int = 0) -> None:
        super().__init__()
        self.inputs = inputs
        self.register_buffer("mean", torch.zeros(feature_shape(shape, axis)))
        self.register_buffer("scale", torch.ones(shape if inputs else ()))

    @property
    def known(self) -> bool:
        """True once it has statistics."""
        return bool(self.mean.any() or (self.scale != 1).any())

    def learn(self, mean: Tensor, variance: float, *, input_variance: float | None = None) -> None:
        """Takes the statistics of the training set.

        Args:
            mean: of each feature.
            variance: about these means, the average over features; 0 leaves the scale at 1.
            input_variance: the same of inputs.
        """
        self.mean.copy_(mean)
        self.scale.fill_(variance**0.5 or 1.0)
        if self.inputs and input_variance:
            self.scale[: self.inputs] = input_variance**0.5

    def forward(self, x: Tensor) -> Tensor:
        """Examples `[batch, *shape]` in units of the training set's standard deviation."""
        return (x - self.mean) / self.scale


class Restore(Standardize):
    """The inverse: mean + scale * x, which gives a decoder's output the unit of the data."""

    def forward(self, x: Tensor) -> Tensor:
        """Examples `[batch, *shape]` in the unit of the data."""
        return self.mean + self.scale * x


def feature_shape(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    """Shape of one number for each feature, which broadcasts over examples of a shape."""
    if len(shape) == 2 and axis is None:
        return shape
    features = axis if len(shape) == 2 else 0
    return tuple(size if place == features else 1 for place, size in enumerate(shape))
