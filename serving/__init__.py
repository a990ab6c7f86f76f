"""The gateway: answers over HTTP with the model version that the registry names Production.

In the order in which a process and then a request pass them:

- ``__main__``: ``python -m serving`` and the operators' commands; light, as the parent of several workers
- ``settings``: the environment variables ``FRAUD_*``, their help and what is wrong with them
- ``process``: exit codes, signals and the listening socket; `worker_pool`: several workers behind that socket
- ``server``: one process that serves, from its settings to its exit code
- ``app``: the composition root, from settings to the ASGI application; `gateway`: the parts that routes are given
- ``middleware``: what each request passes through before its route; `access`: API keys and rate limits
- ``routes``: what clients can call
- ``http``: connections, bodies and media types, within limits; `large_bodies`: the room for all, and JSON in pieces
- ``errors``: what can be wrong with a request, and the problem documents that say it
- ``transactions``: what is accepted; `admission`: the door behind it, for event times and keys
- ``turns``: what came together is scored together; `history`: what the keys of a transaction did before
- ``predictions``: scores, decisions, reasons and the answer
- ``batch``: files of transactions, from upload to answer
- ``decisions``: keeps predictions in the decision store and finds them again
- ``live_model``: the model that answers and where it comes from; `model_follower`: follows Production and Challenger
- ``shadow``: has the challenger score what was answered
- ``telemetry``: the request's record, logs and metrics

May import `stores` and `ml_project`, never `pipelines`. MLflow is imported on the follower's thread only.
"""
