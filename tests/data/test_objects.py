import numpy as np
import pytest
import torch
from PIL import Image

from narrows.data import from_torchvision

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
LABELS = [int(label) for label in np.arange(40) % 4]


class Pets:
    """What torchvision's CIFAR10 looks like."""

    classes = ("ant", "bee", "cat", "dog")
    data, targets, transform = IMAGES, LABELS, None

    def __len__(self):
        return len(self.data)

    def __getitem__(self, place):
        image = Image.fromarray(self.data[place])
        return (self.transform(image) if self.transform else image), self.targets[place]


class Listed:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


def test_stored_arrays_and_items_give_the_same_data():
    stored = from_torchvision(Pets())
    by_item = from_torchvision(
        Listed(
            [(Image.fromarray(image), label) for image, label in zip(IMAGES, LABELS, strict=True)]
        )
    )
    assert stored.shape == by_item.shape == (3, 8, 8)
    assert torch.equal(stored.train.images, by_item.train.images)
    assert torch.equal(stored.train.labels, by_item.train.labels)
    assert (stored.name, stored.classes) == ("Pets", Pets.classes)


def test_a_published_test_split_is_kept_whole_and_in_order():
    data = from_torchvision(Pets(), Pets())
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 40)
    np.testing.assert_array_equal(data.test.images.numpy(), IMAGES.transpose(0, 3, 1, 2))


def test_a_transform_is_honoured():
    pets = Pets()
    pets.transform = lambda image: torch.from_numpy(np.asarray(image)[..., 0] / 255.0)
    assert from_torchvision(pets).shape == (1, 8, 8)


def test_items_of_several_shapes_are_refused():
    items = [(np.zeros((4, 4 + place % 2)), 0) for place in range(20)]
    with pytest.raises(ValueError, match="images of one shape"):
        from_torchvision(Listed(items))
