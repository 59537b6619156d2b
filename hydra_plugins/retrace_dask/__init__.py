"""Hydra's launcher that runs the jobs of a sweep on a Dask cluster: ``hydra/launcher=dask``."""
