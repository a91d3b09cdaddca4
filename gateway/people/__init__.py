"""People who sign in: who they are, what their role lets them do, their sessions, and what they did."""
