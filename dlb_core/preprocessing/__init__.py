"""Affine-only preprocessing, one module a step; `steps.py` puts them in order."""

VERSION = 1
"""Raise it with every change of what preprocessing gives: training data that another version
prepared is then prepared again."""
