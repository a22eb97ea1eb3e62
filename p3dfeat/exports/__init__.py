"""Export of features to the layouts that other software reads. It reads feature files and needs no videos."""
