"""The library behind the pipeline: arrays and parameters in, arrays and numbers out."""
