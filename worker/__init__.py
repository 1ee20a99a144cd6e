"""Celery workers: claim a job, run the pipeline, publish the outcome."""
