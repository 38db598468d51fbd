"""Files that people already have: read piece by piece, in constant memory, and recognised by their content.

In reading order: `text` (bytes → lines), `tables` (lines → rows of cells), `recognition` (which format it is), the
formats (`x_tweets`, `x_days`, `own_tables`, `own_events`: rows → a batch), `columns` (what each column counts as),
`storing` (a batch → Tweets, snapshots, events, days of the account; `known`: what is not said again), `previews` and
`engine` (what the page calls, and what a worker does).
"""
