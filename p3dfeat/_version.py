"""The version. The build, the package and the feature files read it from here."""

__version__ = "0.1.0"
