"""The model card of a version: for people as Markdown and HTML, for the gateway as JSON."""
