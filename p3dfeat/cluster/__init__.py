"""Runs on several machines through Ray. Only this room imports ray."""
