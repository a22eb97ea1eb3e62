"""Search in feature files: the nearest videos to a query, and near-duplicates."""
