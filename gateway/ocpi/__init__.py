"""The OCPI edge toward CPOs: versions, credentials, locations, tariffs, sessions, CDRs, tokens."""
