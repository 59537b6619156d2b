"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from mlcore.nn import NeuralNetwork


@parametrize_with_checks([NeuralNetwork((16,), learning_rate=0.1, random_state=0)])
def test_estimator_check(estimator, check):
    check(estimator)
