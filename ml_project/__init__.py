"""The ML core: features, ensemble, thresholds and metrics. Pure: arrays and frames in, values out."""
