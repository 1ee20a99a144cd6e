"""Many cases sent to a service, and what came of them in one table."""
