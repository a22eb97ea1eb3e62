"""The paper's experiments over feature files: protocols of data sets, classifiers and scores."""
