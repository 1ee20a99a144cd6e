"""Jobs as rows in SQL: the truth that messages only hint at."""
