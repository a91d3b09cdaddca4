"""Four-eyes approval: which bookings need a second person, proposed, approved, rejected."""
