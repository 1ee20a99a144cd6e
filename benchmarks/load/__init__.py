"""What many clients at once cost, and what they get."""
