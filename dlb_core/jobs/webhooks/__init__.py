"""Webhooks: tell other programs of a job's end, and keep telling until they have heard."""
