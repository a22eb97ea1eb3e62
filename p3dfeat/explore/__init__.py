"""Look at features: search, near-duplicates, and places on a map. It reads feature files."""
