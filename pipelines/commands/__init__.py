"""The commands of ``python -m pipelines`` by topic. Each imports its work when it is called: --help stays quick."""
