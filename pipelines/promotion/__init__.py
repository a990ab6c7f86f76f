"""What becomes Production: the gate, and every way of moving the aliases.

May import `pipelines.training` (but for its `steps`), `pipelines.pages`, `pipelines.monitoring.figures`, `ml_project`,
`stores` and the modules at the top of `pipelines`. In the order in which a candidate passes them:

- `promote`: the step ``promote``: register, judge, move
- `evidence`: reads and measures everything that the gate judges
- `checks`: the gate's checks, and `judge`
- `report`: the gate's limits (``gate.yaml``), its report, and its page
- `card`: the model card of a version
- `mover`: decides what a move does to the aliases, and claims it
- `finisher`: carries out claimed moves and publishes the release
- `rollback`: put an earlier version back; approve a promotion that waits
- `access`: who may train, who may promote and who reads: MLflow's roles, made and shown
- `policy`: the same model under another threshold policy
- `verify`: the history of moves as a table, and whether files, aliases, history and release agree
"""
