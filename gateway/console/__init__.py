"""The console: pages for people over the API's own operations, with a person's rights."""
