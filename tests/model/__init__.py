"""The executable model of docs/exactness.md around the real streams/flow code.

What is fake here is only what streams/flow never sees: the broker's logs and their compaction,
producers that lose what was not acknowledged, Redis and its fence, clocks, and the few lines of glue
that streams/worker will have (the order of effects). A schedule is a list of small actions; each one
makes a worker go a few effects further, lets sends land, kills, pauses, compacts or moves time. Any
subset of a schedule is a schedule, so that a failing one can be shrunk to the few actions that matter.

Constants are not scaled down: minutes, hours, days and retentions are the real ones, panes are half a
minute and day grace is one day, and schedules jump in time instead. So nothing in streams/ had to
know of the model, and the retentions that are tested are those that run.

    python -m tests.model --seeds 1000 --from 0
"""
