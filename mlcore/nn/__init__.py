"""A fully connected neural network written from scratch on NumPy."""

from mlcore.nn.network import NeuralNetwork, NeuralNetworkRegressor

__all__ = ["NeuralNetwork", "NeuralNetworkRegressor"]
