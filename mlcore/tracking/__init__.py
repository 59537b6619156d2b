"""Records every training in MLflow."""
