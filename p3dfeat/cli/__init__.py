"""The command line: parse, call, print. Only this package imports typer and rich."""
