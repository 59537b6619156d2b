"""A fully connected neural network written from scratch on NumPy."""

from mlcore.nn.network import NeuralNetwork

__all__ = ["NeuralNetwork"]
