"""Everything needed to run without an outside account: PostgreSQL, a PSP, a test PKI, a simulated market."""
