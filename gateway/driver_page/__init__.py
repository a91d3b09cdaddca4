"""The page on which a driver without an account pays at a charge point, found by the QR code on it."""
