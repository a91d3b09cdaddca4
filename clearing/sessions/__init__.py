"""From a captured session to its journal entry, and its corrections: price, plan, split, post, reverse."""
