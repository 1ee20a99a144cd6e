"""The `dlb` command."""
