"""Personal data: what is kept, why and how long; retention, erasure and export."""
