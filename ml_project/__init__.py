"""The ML core: features, ensemble, thresholds and metrics. Pure: arrays and frames in, values out."""

__version__ = "0.1.0"
