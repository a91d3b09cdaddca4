"""HTTP, OCPI, Plug & Charge, the single capture at the PSP, webhooks, jobs and the command line."""
