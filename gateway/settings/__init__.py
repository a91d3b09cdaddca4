"""Settings by subject; `gateway.config` reads them all."""
