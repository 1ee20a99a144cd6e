"""Deliveries of results to picture archives: rows of their own, apart from the jobs'."""
