"""The business clock: whole Unix seconds that may be set, frozen or left to run. Signatures never use it."""

import time


class BusinessClock:
    """`now()` in Unix seconds. Starts at the wall's time, or frozen at `start_at`."""

    def __init__(self, *, start_at: int | None = None) -> None:
        self._frozen_at = start_at
        self._offset_s = 0

    def now(self) -> int:
        """The current business second."""
        return int(time.time()) + self._offset_s if self._frozen_at is None else self._frozen_at

    @property
    def frozen(self) -> bool:
        """Whether the clock is stopped until it is set again."""
        return self._frozen_at is not None

    def saved(self) -> dict[str, int | bool]:
        """What brings the clock back after a restart: a frozen second, or its distance from the wall."""
        frozen_at = self._frozen_at
        return {"frozen": self.frozen, "value": self._offset_s if frozen_at is None else frozen_at}

    def restore(self, *, value: int, frozen: bool) -> None:
        """Go on from what `saved` gave."""
        self._frozen_at = value if frozen else None
        self._offset_s = 0 if frozen else value

    def set_to(self, now: int, *, frozen: bool) -> None:
        """Set the clock; it stops if `frozen`, else runs on from there."""
        self._frozen_at = now if frozen else None
        self._offset_s = 0 if frozen else now - int(time.time())

    def follow_wall(self) -> None:
        """Return to the wall's time."""
        self._frozen_at = None
        self._offset_s = 0
