"""Batches: jobs that belong together, and are looked at together."""
