"""How a net is run: a Batch in, Features out."""
