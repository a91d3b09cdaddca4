"""The daily audit: what is new is proved whole, and a share of what is older again, from a checkpoint on."""
