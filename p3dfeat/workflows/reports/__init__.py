"""Pages about the results of workflows."""
