"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from mlcore.nn import NeuralNetwork, NeuralNetworkRegressor

ESTIMATORS = [
    NeuralNetwork((16,), learning_rate=0.1, random_state=0),
    NeuralNetworkRegressor((16,), learning_rate=0.05, random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_check(estimator, check):
    check(estimator)
