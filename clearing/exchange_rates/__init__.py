"""Exchange rates imported and checked, and the positions that exchange opens."""
