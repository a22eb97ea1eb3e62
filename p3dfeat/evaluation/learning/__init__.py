"""Linear classifiers: three learners, the choice of C, fusion, and the file that holds a classifier."""
