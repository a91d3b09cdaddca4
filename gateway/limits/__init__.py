"""How much may be asked of a gateway: buckets, who counts in which, what several processes share."""
