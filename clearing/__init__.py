"""From a captured session to money owed to named parties. Knows no HTTP and no PSP."""
