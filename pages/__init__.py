"""Hosted HTML pages: what only people use."""
