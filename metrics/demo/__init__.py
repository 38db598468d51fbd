"""A believable feed for trying things out: it knows the product only by its HTTP API, and by what Jetstream tells it.

Read in this order: `cascades` (the real data), `kernel` (how attention spreads), `calibration` and `fitted`
(the kernel's numbers), `content` (the handles), `plan` (their Tweets), `people` (who looks at them), `events` and
`viewers` (what they do, in bulk and one by one), `sender` (the HTTP client), `jetstream` (a Bluesky network's
stream), `feed` (history, then the present), `replay`.
"""
