"""The scheduler: retraining and monitoring by cron, in the foreground.

- ``run``: when jobs are due, and the life of the scheduler.
- ``queue``: what is due and what became of it, in a database.
- ``worker``: runs the jobs as child processes.

Imports SQLAlchemy and ``stores``; the jobs themselves run in separate processes.
"""
