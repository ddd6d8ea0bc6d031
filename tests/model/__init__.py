"""The executable model of docs/exactness.md around the real streams/flow code.

Only what streams/flow never sees is fake: the broker's logs and their compaction, producers that lose
unacknowledged sends, Redis and its fence, clocks, and the few lines of glue that give the order of
effects in streams/worker. A schedule is a list of small actions. Each action runs a worker for a few
effects, lands sends, kills, pauses, compacts or moves time. Any subset of a schedule is a schedule, so
a failing one can be shrunk to the few actions that matter.

Constants are not scaled down. Minutes, hours, days and retentions are the real ones; only panes are
half a minute and the grace of days is one day. Schedules jump in time instead. So streams/ needs no
knowledge of the model, and the retentions under test are those in production.

    python -m tests.model --seeds 1000 --from 0
"""
