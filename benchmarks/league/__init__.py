"""A public league: the protocol of the "Practical Handbook" of Le Borgne, Siblini, Lebichot and Bontempi, run here.

- `transactions`: the handbook's transactions, or simulated ones, with the authors' features and with ours.
- `protocol`: which rows a week trains and tests on, and its figures.
- `entries`: the models that take part, and what their settings were chosen on.
- `served`: the winner through the gateway, request by request.
- `retraining`: the whole history under rules that say when a model is retrained.
- `run`: all of it, as tables, as JSON and as pages (`make league`).
"""
