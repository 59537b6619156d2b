"""Trainings run again with other parameters, on this machine or a cluster."""
