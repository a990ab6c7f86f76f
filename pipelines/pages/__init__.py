"""Pages for people: self-contained HTML with inline pictures, readable on a phone and in the dark.

May import `ml_project` only.

- `charts`: line charts, and the four kinds of them that describe a model
- `render`: fills the templates of this folder
- ``*.html``, ``*.md``: the templates
"""
