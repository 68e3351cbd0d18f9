import numpy as np
import pytest
from sklearn.decomposition import SparseCoder as TheirCoder
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from narrows.sparse import DictionaryLearner, SparseCoder


@parametrize_with_checks(
    [
        SparseCoder(random_state=0),
        SparseCoder(algorithm="lasso", alpha=0.1, random_state=0),
        DictionaryLearner(max_iter=2, random_state=0),
    ]
)
def test_estimators_keep_scikit_learns_conventions(estimator, check):
    check(estimator)


def _data(seed=0):
    return np.random.default_rng(seed).normal(size=(60, 10))


@pytest.mark.parametrize(
    "ours",
    [dict(algorithm="omp", n_nonzero_coefs=3), dict(algorithm="lasso", alpha=0.4)],
)
def test_codes_are_those_of_scikit_learns_coder(ours):
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(25, 10))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    algorithm = {"omp": "omp", "lasso": "lasso_lars"}[ours["algorithm"]]
    theirs = TheirCoder(
        atoms,
        transform_algorithm=algorithm,
        transform_n_nonzero_coefs=ours.get("n_nonzero_coefs"),
        transform_alpha=ours.get("alpha"),
        transform_max_iter=2000,
    )
    codes = SparseCoder(atoms, **ours).fit(_data()).transform(_data())
    # The lasso stops at a relative duality gap of 1e-4.
    np.testing.assert_allclose(codes, theirs.fit(_data()).transform(_data()), atol=0.02)


def test_learning_lowers_the_error_and_works_in_a_pipeline():
    X = _data()
    short = DictionaryLearner(15, n_nonzero_coefs=2, max_iter=0, random_state=0).fit(X)
    long = DictionaryLearner(15, n_nonzero_coefs=2, max_iter=20, random_state=0).fit(X)

    def error(model):
        return np.square(X - model.inverse_transform(model.transform(X))).sum()

    assert error(long) < 0.9 * error(short)
    pipe = make_pipeline(StandardScaler(), DictionaryLearner(15, max_iter=1, random_state=0))
    assert pipe.fit_transform(X).shape == (60, 15)
    names = pipe[-1].get_feature_names_out()
    assert names[0] == "dictionarylearner0"


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (SparseCoder(algorithm="lars"), "algorithm"),
        (SparseCoder(positive=True), "positive"),
        (SparseCoder(n_nonzero_coefs=11), "1 <= k <= 10"),
        (SparseCoder(algorithm="lasso", alpha=-1.0), "alpha must be a number of at least 0"),
        (SparseCoder(np.zeros((3, 10))), "zero atoms"),
        (SparseCoder(np.ones((3, 9))), "dictionary"),
        (DictionaryLearner(max_iter=-1), "epochs"),
        (DictionaryLearner(batch_size=0), "batch"),
    ],
)
def test_impossible_parameters_are_refused(estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(_data())


def test_codes_of_another_width_are_refused():
    with pytest.raises(ValueError, match="expected codes"):
        SparseCoder(random_state=0).fit(_data()).inverse_transform(np.zeros((2, 3)))
