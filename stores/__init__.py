"""What both sides keep things in: the model registry, releases, objects."""
