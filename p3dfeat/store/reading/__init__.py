"""Reading feature files: videos by id, all videos in one pass, and tables."""
