"""Feeding crawls."""
