"""Scoring whole tables: a plan of parts, one way to score a part, and engines that differ only in where parts run."""
