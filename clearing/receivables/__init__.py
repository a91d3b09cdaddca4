"""Money owed to the platform: its age, set-off and write-off."""
