"""From a captured session to its journal entry, and back again: priced, planned, split, posted, unwound."""
