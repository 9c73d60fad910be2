"""Alerts: rules about a crawl, what holds of them, and who is told."""
