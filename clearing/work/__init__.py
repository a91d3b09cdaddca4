"""Orders of steps over the store, in the caller's transaction, for the service and the desks."""
