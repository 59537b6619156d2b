"""The pipeline's stages, one module each: read, call mlcore, write."""

from mlcore.runtime import pin_threads

pin_threads()  # before any stage imports NumPy
