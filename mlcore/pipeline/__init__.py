"""DVC's pipeline: what dvc.yaml says, and how its stages run side by side."""
