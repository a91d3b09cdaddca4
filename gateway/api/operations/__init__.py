"""Operations over HTTP: what waits for a person."""
