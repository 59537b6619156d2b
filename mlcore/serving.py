"""The network from scratch as an MLflow model, logged as code: it is read without pickle's risks."""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from mlcore.artifacts import load_network


class NetworkModel(PythonModel):
    """Predict labels with the .pkl that was logged beside this code."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network through the restricted unpickler."""
        self.network = load_network(Path(context.artifacts["network"]))

    def predict(self, context: PythonModelContext, model_input: Any, params: Any = None) -> Any:
        """Predict the label of each row of `model_input`, shape (n_samples, 784)."""
        return self.network.predict(model_input)


set_model(NetworkModel())
