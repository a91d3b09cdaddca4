"""The work that phases leave behind: one file per kind of errand, each run by gateway/worker.py."""
