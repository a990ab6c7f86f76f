"""History replayed in time order with a label delay, as MLflow runs; goes on where it was cut off."""
