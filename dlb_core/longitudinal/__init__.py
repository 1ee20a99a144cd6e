"""Compare two visits of one person: what is new, larger, smaller, gone."""
