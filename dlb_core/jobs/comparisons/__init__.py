"""Comparisons of two jobs' results, as rows that workers lease."""
