"""The web page `crawlo-scrapy dashboard`: crawls, nodes, curves, dead letters, stats, live.

`reader` looks at Redis, `pages` makes pages of what it found, `access` decides who gets them, and
`server` listens. `actions` alone changes anything. Needs the extra ``dashboard``.
"""
