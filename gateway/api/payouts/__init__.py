"""What is owed, paid, held and reconciled: for parties and for the platform's finance people."""
