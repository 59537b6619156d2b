"""Every parameter of the study: its schema, how it is composed, and how errors are worded."""

from mlcore.config.compose import compose, compose_raw, dump, load, validate, warn_of_change
from mlcore.config.schema import Config
