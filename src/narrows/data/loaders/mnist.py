"""MNIST: 70,000 grey images of handwritten digits, 28x28."""

from pathlib import Path

from narrows.data.dataset import Dataset
from narrows.data.reading.idx import Published

ABOUT = "handwritten digits, grey"
SHAPE = (1, 28, 28)
EXAMPLES = 70_000
_PUBLISHED = Published(
    "MNIST",
    folders=("mnist", "MNIST/raw", "MNIST", ""),
    address="http://yann.lecun.com/exdb/mnist/",
    classes=tuple(str(digit) for digit in range(10)),
    # Of the decompressed files: recompressed copies carry other headers around the same bytes.
    content={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)
present = _PUBLISHED.present


def load(root: Path | None = None, *, validation: int = 5000) -> Dataset:
    """Loads MNIST: 55,000 training, 5,000 validation and 10,000 test images by default.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition, 1998.
    """
    return _PUBLISHED.load(root, validation=validation)
