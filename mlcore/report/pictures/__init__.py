"""The study's pictures: from results to what `mlcore.plotting` draws, and what it shows."""

from typing import Any

Picture = tuple[Any, str]
"""A figure, and a sentence that says what it shows."""
