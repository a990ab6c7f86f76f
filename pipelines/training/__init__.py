"""From clean data to a finished, logged model.

May import `pipelines.data`, `pipelines.pages`, `pipelines.promotion` (the last step), `ml_project`, `stores` and the
modules at the top of `pipelines`. In the order in which data passes them:

- `steps`: the steps as the command line and ``MLproject`` know them, and the chain of all of them
- `train`: the step ``train``: tune, fit twin and refit, measure twin and baselines on test
- `tuning`: the part of ``train`` that chooses settings, in this process or in several
- `study`: the Optuna study: its search space and database; `sampler`: which point a trial tries
- `trials`: working off the study's budget together with other processes and machines; `interrupts`: Ctrl-C meanwhile
- `threshold`: the step ``threshold``: every policy's thresholds, and the finished bundles
- `model_logging`: a bundle as an MLflow model, and back
- `pyfunc_model`: the Python file that MLflow stores with the model
- `spark`: an engine that trains on rows that stay on Spark's executors
"""
