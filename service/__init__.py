"""FastAPI front end: accepts cases, tells of jobs, hands out artefacts."""
