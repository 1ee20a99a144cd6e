"""Measurements; each names its baseline and runs it in the same process."""
