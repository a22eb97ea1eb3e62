"""What an experiment gives: its result, the protocol in words, the paper's numbers, and reports."""
