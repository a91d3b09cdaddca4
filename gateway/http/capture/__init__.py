"""The capture API: from a quote to a captured session, and what is given back."""
