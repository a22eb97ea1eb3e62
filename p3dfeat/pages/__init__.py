"""Pages of HTML that hold all they show, and load nothing. They know nothing of feature files and videos."""
