"""The network from scratch as an MLflow model, logged as code and read without pickle's risks."""

from pathlib import Path

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from mlcore.training.models import load_network


class NetworkModel(PythonModel):  # type: ignore[misc]
    """Predict labels with the .pkl that was logged beside this code."""

    # MLflow would take type hints for the schema, and warn of their absence; the schema is the
    # signature that is logged with the model
    _skip_type_hint_validation = True

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network through the restricted unpickler."""
        self.network = load_network(Path(context.artifacts["network"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict the label of each row of `model_input`, shape (n_samples, 784)."""
        return self.network.predict(model_input)


set_model(NetworkModel())
