"""Retraining and monitoring by cron, in the foreground: what is due is written down first, then done by a child."""
