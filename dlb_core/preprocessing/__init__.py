"""Affine-only preprocessing, one module a step; `steps.py` puts them in order."""
