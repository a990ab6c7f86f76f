"""Whether ingested data may be trained on: a Great Expectations suite kept as data, and what runs it."""
