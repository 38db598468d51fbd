"""A believable feed for trying things out: it knows the product only by its HTTP API.

Read in this order: `cascades` (the real data), `kernel` (how attention spreads), `calibration` and `fitted`
(the kernel's numbers), `content` (the three handles), `plan` (their Tweets), `events` and `viewers` (what
people do with them, in bulk and one by one), `sender` (the HTTP client), `feed` (history, then the present),
`replay`.
"""
