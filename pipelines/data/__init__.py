"""Transactions on their way to training: found, read, cleaned, stored and validated.

May import `ml_project`, `stores` and the modules at the top of `pipelines`. In the order in which data passes them:

- `sources`: which data ``--data`` names, and reading them
- `kaggle`: the public data set, downloaded by Kaggle's client in a subprocess
- `places`: which files hold rows, and those that are read in place
- `files`: CSV and Parquet files and folders, local or in S3, as tables; `csv_text`: CSV whose rows know their lines;
  `parquet_pages`: pages of Parquet that would fill a memory, found before they are read
- `infer`: a draft of a contract from a table
- `ingest`: the step ``ingest``: one clean Parquet file with a content digest
- `past_events`: transactions for the history that a gateway looks up; `forget`: personal keys erased everywhere
- `on_spark`: the same step on Spark, for more rows than fit into memory; `spark_tables`: its tables from the same files
- `validation`: the step ``validate``: the Great Expectations suite, with pandas or on Spark
- `validation_report`: what validation measured and found
"""
