"""After a restore to a point in time: what others have seen since, and how it comes back into the books."""
