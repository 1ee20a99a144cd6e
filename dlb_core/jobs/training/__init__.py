"""Trainings as leased rows: each network a task that any worker may claim."""
