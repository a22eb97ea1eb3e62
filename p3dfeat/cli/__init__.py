"""The command line: parse, call, print. The only place that imports typer or rich."""
