"""Fashion-MNIST: 70,000 grey images of clothing, 28x28, in MNIST's format."""

from pathlib import Path

from narrows.data.dataset import Dataset
from narrows.data.reading.idx import Published

ABOUT = "articles of clothing, grey"
SHAPE = (1, 28, 28)
EXAMPLES = 70_000
_PUBLISHED = Published(
    "Fashion-MNIST",
    # Not the root itself: MNIST's files have the same names.
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
    address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    classes=(
        "T-shirt/top", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    # As the publisher's page lists them, of the compressed files.
    wrapper={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)  # fmt: skip
present = _PUBLISHED.present


def load(root: Path | None = None, *, validation: int = 5000) -> Dataset:
    """Loads Fashion-MNIST: 55,000 training, 5,000 validation and 10,000 test images by default.

    Source: Xiao, Rasul and Vollgraf, arXiv:1708.07747.
    """
    return _PUBLISHED.load(root, validation=validation)
