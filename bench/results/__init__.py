"""The numbers of docs/RESULTS.md: what is kept of finished runs, and the tables and figures made of it.

    python -m bench.results collect STORE [--loop FILE …]    # a store's runs, into docs/results/runs.jsonl
    python -m bench.results page [--check]                   # docs/RESULTS.md and its figures, from there

A record is small: the command, what the run's id was made of, where it ran, its validation curve and its facts. The
page's prose is RESULTS.md.j2 beside this; a table's number comes from records, but for what others have published.
"""
