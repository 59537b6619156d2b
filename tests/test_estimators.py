"""scikit-learn's MLPs, observed: the same fits, and numbers worked out anew."""

import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

from mlcore.training import mlp
from mlcore.training.mlp import ObservedMLPClassifier, ObservedMLPRegressor
from mlcore.training.search import GridSearch, n_fits

GRID = {"solver": ["adam", "lbfgs", "sgd"], "learning_rate": [0.001, 0.05], "batch_size": [16, 50]}
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 6, "random_state": 2}
FITS = [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0.5},
    {"early_stopping": True, "validation_fraction": 0.2},
    {"n_iter_no_change": 1, "tol": 0.5},
]


@pytest.fixture(autouse=True, scope="module")
def one_core():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOKY_MAX_CPU_COUNT", "1")
        yield


@pytest.fixture(scope="module")
def images(digits):
    return {name: (X, X) for name, (X, _) in digits.items()}


def quietly(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def params(**more):
    return {"hidden_layer_sizes": (8, 6), "max_iter": 4, "random_state": 5, **more}


def bits(model):
    return [(a.dtype, a.tobytes()) for a in (*model.coefs_, *model.intercepts_)]


def assert_same_fit(ours, theirs):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.loss_curve_ == theirs.loss_curve_
    assert bits(ours) == bits(theirs)


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("more", FITS, ids=["adam", "sgd", "early stopping", "tolerance"])
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_fits_are_those_of_scikit_learn(digits, images, kind, more, validated):
    observed, plain, data = {
        "classifier": (ObservedMLPClassifier, MLPClassifier, digits),
        "regressor": (ObservedMLPRegressor, MLPRegressor, images),
    }[kind]
    validation, rows = data["val"] if validated else None, []
    with mlp.whole_training():
        ours = observed(**params(**more))
        ours.fit(*data["train"], validation=validation, on_epoch=rows.append)
    assert_same_fit(ours, quietly(plain(**params(**more)), *data["train"]))
    assert rows == ours.history_
    assert [row["epoch"] for row in rows] == [*range(1, ours.n_iter_ + 1)]
    assert [row["train_loss"] for row in rows] == ours.loss_curve_
    names = ["loss", "accuracy"] if kind == "classifier" else ["loss"]
    measured = [f"{part}_{name}" for part in ("train", "val")[: 1 + validated] for name in names]
    assert all(list(row) == ["epoch", *measured] for row in rows)
    assert not hasattr(ours, "_validation")  # nor are the data kept


def after_each_epoch(model, method, X, y):
    """Yield a model of scikit-learn's own as it is after each of four epochs."""
    if method == "fit":
        yield from (quietly(clone(model).set_params(max_iter=n), X, y) for n in (1, 2, 3, 4))
    elif method == "partial_fit":
        classes = {"classes": np.unique(y)} if isinstance(model, MLPClassifier) else {}
        yield from (model.partial_fit(X, y, **classes) for _ in range(4))
    else:
        model.set_params(max_iter=1, warm_start=True)
        yield from (quietly(model, X, y) for _ in range(4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", mlp.METHODS)
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_each_method_is_scikit_learns_own_epoch_by_epoch(digits, kind, method, dtype):
    data = {name: (X.astype(dtype), y) for name, (X, y) in digits.items()}
    observed, plain = ObservedMLPClassifier, MLPClassifier
    if kind == "regressor":
        data = {name: (X, X) for name, (X, _) in data.items()}
        observed, plain = ObservedMLPRegressor, MLPRegressor
    (X_val, y_val), given = data["val"], params(batch_size=32)
    ours = observed(**given).fit(*data["train"], validation=data["val"], method=method)
    assert [row["epoch"] for row in ours.history_] == [1, 2, 3, 4]
    steps = after_each_epoch(plain(**given), method, *data["train"])
    for row, theirs in zip(ours.history_, steps, strict=True):
        assert row["train_loss"] == theirs.loss_
        if kind == "classifier":
            loss = log_loss(y_val, theirs.predict_proba(X_val))
            assert row["val_accuracy"] == accuracy_score(y_val, theirs.predict(X_val))
        else:
            loss = mean_squared_error(y_val, theirs.predict(X_val)) / 2
        assert row["val_loss"] == pytest.approx(loss, rel=1e-5 if dtype == np.float32 else 1e-12)
    assert bits(ours) == bits(theirs)
    assert ours.coefs_[0].dtype == dtype
    assert ours.get_params() == observed(**given).get_params()


def test_validation_may_lack_classes(digits):
    X, y = digits["val"]
    few = (X[y < 3], y[y < 3])
    with mlp.whole_training():
        model = ObservedMLPClassifier(**params()).fit(*digits["train"], validation=few)
    probabilities = model.predict_proba(few[0]).astype(np.float64)
    by_hand = -np.mean(np.log(probabilities[np.arange(len(few[1])), few[1]]))
    assert model.history_[-1]["val_loss"] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("column", [20, [20]])
def test_regressor_with_a_single_output(digits, column):
    targets = {name: (X, X[:, column]) for name, (X, _) in digits.items()}
    model = ObservedMLPRegressor(**params()).fit(*targets["train"], validation=targets["val"])
    X, y = targets["test"]
    expected = mean_squared_error(y.ravel(), model.predict(X))
    assert model.evaluate(X, y)["mse"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("epoch", [2, 3, 4])
def test_train_accuracy_is_that_of_the_weights_before_each_update(digits, epoch):
    X, y = digits["train"]
    whole = params(batch_size=len(X), learning_rate_init=0.02)
    model = ObservedMLPClassifier(**whole).fit(X, y)
    before = quietly(MLPClassifier(**whole | {"max_iter": epoch - 1}), X, y)
    assert model.history_[epoch - 1]["train_accuracy"] == accuracy_score(y, before.predict(X))
    assert model.history_[0]["train_accuracy"] != model.history_[3]["train_accuracy"]
    with pytest.raises(ConvergenceWarning, match="Maximum iterations"):  # of others it is told
        MLPClassifier(**whole).fit(X, y)


def test_train_accuracy_of_two_classes(digits):
    X, y = digits["train"]
    two = y < 2
    model = ObservedMLPClassifier(**params(max_iter=30, learning_rate_init=0.02))
    model.fit(X[two], y[two])
    assert model.history_[-1]["train_accuracy"] == 1.0


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", ["observer", "evaluation", "fit", "search"])
def test_interruption_ends_the_fit(monkeypatch, digits, what):
    """scikit-learn takes it for the wish to stop early."""
    if what == "evaluation":
        monkeypatch.setattr(ObservedMLPClassifier, "evaluate", interrupt)
    elif what != "observer":
        monkeypatch.setattr(BaseMultilayerPerceptron, "_update_no_improvement_count", interrupt)
    model = ObservedMLPClassifier(**params())
    if what == "search":
        model = GridSearch(model, GRID, cv=2)
    on_epoch = interrupt if what == "observer" else None
    with pytest.raises(KeyboardInterrupt):
        model.fit(*digits["train"], validation=digits["val"], on_epoch=on_epoch)


@pytest.fixture(scope="module")
def searched(digits):
    """Our search with what it told, and scikit-learn's over the grid as it is."""
    X, y = digits["train"]
    rows = []
    ours = GridSearch(ObservedMLPClassifier(**SMALL), GRID, cv=3).fit(X, y, on_epoch=rows.append)
    theirs = GridSearchCV(MLPClassifier(**SMALL), mlp.sklearn_arguments(GRID), cv=3)
    return ours, quietly(theirs, X, y), rows


def key(candidate):
    return tuple(candidate[name] for name in sorted(GRID))


def test_search_scores_and_refits_the_best_as_scikit_learn(searched):
    ours, theirs, _ = searched
    results = theirs.cv_results_
    expected = {
        key(candidate | {"learning_rate": candidate["learning_rate_init"]}): {
            "rank": results["rank_test_score"][i],
            "mean_accuracy": pytest.approx(results["mean_test_score"][i], rel=1e-14),
            "std_accuracy": pytest.approx(results["std_test_score"][i], rel=1e-12),
            **{f"fold_{k + 1}": results[f"split{k}_test_score"][i] for k in range(3)},
        }
        for i, candidate in enumerate(results["params"])
    }
    assert len(ours.candidates_) == len(expected) == 12
    assert [row["mean_accuracy"] for row in ours.candidates_] == pytest.approx(
        sorted(results["mean_test_score"], reverse=True), rel=1e-14
    )
    for row in ours.candidates_:
        figures = {name: value for name, value in row.items() if name not in GRID}
        assert figures == expected[key(row)]
    assert_same_fit(ours.best_, theirs.best_estimator_)


def test_of_equally_good_candidates_the_best_is_scikit_learns(digits):
    X, y = digits["train"]
    # Steps so small that all score as the initial weights do
    grid = {"solver": ["sgd", "adam"], "learning_rate": [1e-9, 1e-10], "batch_size": [50, 25]}
    ours = GridSearch(ObservedMLPClassifier(**SMALL), grid, cv=3).fit(X, y)
    theirs = quietly(GridSearchCV(MLPClassifier(**SMALL), mlp.sklearn_arguments(grid), cv=3), X, y)
    assert {row["rank"] for row in ours.candidates_} == {1}
    listed = [mlp.sklearn_arguments({name: row[name] for name in grid}) for row in ours.candidates_]
    assert listed == theirs.cv_results_["params"]
    assert listed[0] == theirs.best_params_


def test_search_tells_of_every_fit_and_when_it_was_and_of_the_refit(searched):
    ours, _, rows = searched
    n = n_fits(GRID, cv=3)
    assert n == (8 + 1) * 3  # the four candidates with lbfgs are one
    assert [row["fit"] for row in rows[:n]] == list(range(1, n + 1))
    assert rows[n:] == ours.history_
    assert len(ours.history_) == 6
    assert len(ours.times_) == len(ours.candidates_)
    assert all(started < ended for started, ended in ours.times_)
    # One after another, on one core: no candidate has the time of the whole search
    spans = sorted(set(ours.times_))
    assert len(spans) == 9
    assert all(ended <= started for (_, ended), (started, _) in pairwise(spans))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_lbfgs_as_the_best_candidate_has_one_row(digits):
    X, y = digits["train"]
    grid = {"solver": ["lbfgs"], "learning_rate": [0.1, 0.2], "batch_size": [50]}
    rows, search = [], GridSearch(ObservedMLPClassifier(**SMALL), grid, cv=3)
    search.fit(X, y, on_epoch=rows.append)
    assert rows == [{"fit": n} for n in (1, 2, 3)]
    first, second = search.candidates_
    assert first | {"learning_rate": 0.2} == second
    plain = MLPClassifier(**SMALL, solver="lbfgs").fit(X, y)
    assert search.history_ == [{"epoch": plain.n_iter_, "train_loss": plain.loss_}]
    assert all(map(np.array_equal, search.best_.coefs_, plain.coefs_))


def test_a_fold_seed_shuffles_the_folds_as_scikit_learn(digits):
    grid = {"solver": ["adam"], "learning_rate": [0.01], "batch_size": [50]}
    ours = GridSearch(ObservedMLPClassifier(**SMALL), grid, cv=3, fold_seed=5)
    ours.fit(*digits["train"])
    model = MLPClassifier(**SMALL, solver="adam", learning_rate_init=0.01, batch_size=50)
    folds = StratifiedKFold(3, shuffle=True, random_state=5)
    with mlp.whole_training():
        scores = cross_val_score(model, *digits["train"], cv=folds)
    assert [ours.candidates_[0][f"fold_{k}"] for k in (1, 2, 3)] == scores.tolist()


def test_searches_side_by_side_find_what_one_alone_finds(monkeypatch, searched, digits):
    """Inside joblib's workers it would use threads, which would fit the same model at once."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    search = GridSearch(ObservedMLPClassifier(**SMALL), GRID, cv=3)
    both = Parallel(2)(delayed(search.fit)(*digits["train"]) for _ in range(2))
    assert [found.candidates_ for found in both] == [searched[0].candidates_] * 2


class Diverging(ObservedMLPClassifier):
    def fit(self, *_, **__):  # the folds are fitted by MLPClassifier
        raise FloatingPointError("diverged: on all of the data")


@pytest.mark.parametrize(
    ("model", "rate", "part"),
    [(ObservedMLPClassifier, 1e30, "search"), (Diverging, 0.1, "refit")],
)
def test_a_diverging_candidate_ends_the_search_and_is_named(digits, model, rate, part):
    grid = {"solver": ["sgd"], "learning_rate": [rate], "batch_size": [50]}
    search = GridSearch(model((4,), activation="identity", max_iter=3), grid, cv=2)
    at = re.escape(f" (in the {part}, at batch_size 50, learning_rate {rate}, solver sgd)")
    with pytest.raises(FloatingPointError, match=f"diverged: .*{at}$"), np.errstate(all="ignore"):
        search.fit(*digits["train"])


def test_every_parameter_reaches_scikit_learn():
    section = {
        "activation": "relu", "hidden_layer_sizes": [5, 4], "solver": "sgd", "learning_rate": 0.3,
        "batch_size": 7, "max_epochs": 9, "seed": 11,
    }  # fmt: skip
    model = MLPClassifier(**mlp.sklearn_arguments(section))
    assert (model.activation, model.hidden_layer_sizes, model.solver) == ("relu", [5, 4], "sgd")
    assert (model.learning_rate_init, model.batch_size) == (0.3, 7)
    assert (model.max_iter, model.random_state) == (9, 11)


def test_diverging_weights_are_an_error_of_their_own(images):
    model = ObservedMLPRegressor(**params(solver="sgd", learning_rate_init=1e30))
    with pytest.raises(FloatingPointError, match="diverged"):
        model.fit(*images["train"], validation=images["val"])


def test_an_unknown_method_is_named_and_other_errors_stay_what_they_are(digits):
    (X, y), model = digits["train"], ObservedMLPClassifier(**params())
    with pytest.raises(ValueError, match="method='refit': should be one of fit, partial_fit, warm"):
        model.fit(X, y, method="refit")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[1:])
