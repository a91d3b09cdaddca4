"""Charge point data for a national access point: DATEX II, profile "AFIR Energy Infrastructure" 01-00-00."""
