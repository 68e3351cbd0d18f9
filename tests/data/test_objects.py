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


def test_both_splits_are_checked_as_one_is():
    floats = [(image / 127.5 - 1, 0) for image in IMAGES]
    for train, test in ((floats, floats), ([(image / 255, 0) for image in IMAGES], floats)):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            from_torchvision(Listed(train), Listed(test))
    holes = [(np.full((8, 8), np.nan), 0) for _ in IMAGES]
    with pytest.raises(ValueError, match="NaN"):
        from_torchvision(Listed([(image[..., 0] / 255, 0) for image in IMAGES]), Listed(holes))
    with pytest.raises(ValueError, match=r"must be alike, got uint8 .* and float64"):
        from_torchvision(Pets(), Listed(floats))


def test_labels_that_are_names_or_tensors_are_kept_and_others_are_refused_with_the_way_out():
    names = [("bee", "ant")[label % 2] for label in LABELS]
    data = from_torchvision(*[Listed(list(zip(IMAGES, names, strict=True)))] * 2)
    assert data.classes == ("ant", "bee")
    assert data.test.labels.tolist() == [1 - label % 2 for label in LABELS]
    tensors = Listed(
        [(image, torch.tensor(label)) for image, label in zip(IMAGES, LABELS, strict=True)]
    )
    assert from_torchvision(tensors, tensors).test.labels.tolist() == LABELS
    boxes = Listed([(image, [1.5, 2.5]) for image in IMAGES])
    for arguments in ((boxes,), (boxes, boxes)):
        with pytest.raises(ValueError, match="go without labels"):
            from_torchvision(*arguments)
        assert from_torchvision(*arguments, labels=False).train.labels is None


def test_class_names_go_with_their_numbers_where_a_class_is_missing():
    pets = Pets()
    pets.targets = [(0, 3)[label % 2] for label in LABELS]
    for data in (from_torchvision(pets), from_torchvision(pets, pets)):
        assert data.classes == Pets.classes
        assert data.train.labels.unique().tolist() == [0, 3]
