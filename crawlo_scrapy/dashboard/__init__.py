"""The web page `crawlo-scrapy dashboard`: crawls, nodes, curves, dead letters, stats, live.

`reader` looks at Redis, `app` makes pages of what it found, `access` decides who gets them, and
`server` listens. Nothing here writes to Redis. Needs the extra ``dashboard``.
"""
