"""The capture API: from a quote to a captured session, its refunds and disputes."""
