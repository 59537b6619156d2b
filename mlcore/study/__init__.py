"""The study that is retraced: its parts and numbers, its trainings run again, where they differ."""
