"""Change feature files: remove videos, merge files."""
