"""Pages about results: maps, labels, and feature files, with pictures of the videos."""
