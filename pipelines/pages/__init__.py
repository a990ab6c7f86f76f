"""Pages for people: self-contained HTML with inline pictures, readable on a phone and in the dark."""
