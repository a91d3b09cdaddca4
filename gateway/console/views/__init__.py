"""The pages by subject; each calls the API's operations and a template, and nothing else."""
