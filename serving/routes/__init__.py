"""The routes: what clients can call, a module for each group of clients or screen.

- ``predict``: one transaction, or a batch
- ``events``: transactions that need no decision
- ``review``: kept predictions and labels
- ``model``: the live version, its card, its history and its features
- ``dashboard``: figures of a window of live traffic
- ``operations``: health, metrics and MLflow's webhook
- ``pages``: the page and the API's page
- ``examples``: what requests and answers look like, for the API's description
"""
