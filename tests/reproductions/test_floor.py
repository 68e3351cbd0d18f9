"""The floor below which no verdict rests on a model."""

from dataclasses import replace

import pytest
import torch
import toys
from sklearn.decomposition import PCA

import narrows as nw
from narrows.tasks import Call
from reproductions import Claim, Estimate, Hypothesis, Scale, examine, floor, page
from reproductions.floor import Floor

GOOD = Floor("run", nmse=0.1, mean_image=1.0, pca=0.05, varies=0.9, improved=0.01, epochs=20)


def test_a_model_above_its_floor_has_no_shortfall():
    assert GOOD.shortfalls() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmse": 1.2}, "not below the mean image's 1"),
        ({"nmse": 0.6}, "less than 50% of what PCA"),
        ({"varies": 0.01}, "collapsed"),
        ({"improved": 0.1}, "still improved NMSE by 10.0%"),
        ({"improved": None, "epochs": 2}, "2 epochs do not show"),
    ],
)
def test_each_shortfall_is_named(change, says):
    (text,) = replace(GOOD, **change).shortfalls()
    assert says in text


def test_a_claim_about_the_course_of_training_needs_no_plateau_but_the_rest():
    assert replace(GOOD, improved=0.5).shortfalls(course=True) == []
    assert replace(GOOD, improved=None).shortfalls(course=True) == []
    assert replace(GOOD, improved=0.5, nmse=1.2).shortfalls(course=True)


def test_the_last_quarter_is_measured_from_three_quarters_of_the_epochs():
    nmse = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert floor.improvement(nmse) == pytest.approx(1 - 0.3 / 0.5)
    assert floor.improvement(nmse[:3]) is None


def test_pca_is_that_of_scikit_learn_and_the_mean_image_is_where_it_starts():
    data = nw.data.load("digits")
    start, curve = floor._principal(data)
    x, test = (part.batch(torch.arange(len(part))).flatten(1) for part in (data.train, data.test))
    known = PCA(10).fit(x.numpy())
    again = known.inverse_transform(known.transform(test.numpy()))
    total = test.sub(test.mean(0)).square().sum()
    assert float(curve[10]) == pytest.approx(
        float(((test.numpy() - again) ** 2).sum() / total), rel=1e-4
    )
    assert float(curve[0]) == pytest.approx(
        float((test - start.flatten()).square().sum() / total), rel=1e-5
    )


def _claim(shortfall):
    return Claim(
        name="toy", document="001", place="nowhere", says="A number is above zero.",
        hypotheses=[
            Hypothesis("value", "above", 0.0, lambda e: Estimate.over_seeds(e.values("value")))
        ],
        trials=lambda scale: [
            Call(toys.trained, {"value": -1.0, "shortfall": shortfall, "seed": s}) for s in (0, 1)
        ],
        figures=lambda evidence: [],
        minutes=0.1,
    )  # fmt: skip


def test_a_model_below_its_floor_makes_a_claim_undertrained_and_never_contradicted(tmp_path):
    (below,) = examine([_claim(True)], Scale(), tmp_path)
    (above,) = examine([_claim(False)], Scale(), tmp_path)
    assert (below.verdict, above.verdict) == ("undertrained", "contradicted")
    assert below.models == 2
    assert "seed=0: NMSE 1.2 is not below" in below.shortfalls[0]
    text = page.write([below], tmp_path / "page", "command").read_text()
    assert "Below the floor: seed=0" in text
    assert "Warned while training: a toy warning (2 of 2 models)" in text
