"""Everything needed to run with no outside account: PostgreSQL, a PSP, a market to play."""
