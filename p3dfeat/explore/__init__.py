"""Look at features: search, near-duplicates, maps and reports. It reads feature files."""
