"""Background jobs: one module per job, each run in a loop by gateway/worker.py."""
