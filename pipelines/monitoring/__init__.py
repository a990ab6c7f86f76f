"""Watching the live model: a window of kept decisions against the bundle's baseline, its limits, and what is said."""
