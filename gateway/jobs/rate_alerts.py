"""What of the exchange rates needs a person, one sentence each.

Owns: these sentences. Must not know who shows them.
"""

from datetime import datetime
from typing import Final

from clearing.exchange_rates import feed_service
from clearing.exchange_rates.ecb_files import SOURCE
from clearing.fx import FRANKFURT
from gateway.database import Connection

ALERT_DAYS: Final = 5  # Good Friday to Tuesday after Easter is the longest pause of the ECB


async def list_rate_alerts(connection: Connection, *, now: datetime) -> list[str]:
    """A rate to confirm, or rates that are too old where exchange is in use; `now` is business time."""
    newest = await feed_service.find_newest_rate(connection)
    age = 0 if newest is None else (now.astimezone(FRANKFURT).date() - newest).days
    fetch = await feed_service.find_last_fetch(connection, SOURCE)
    problem = "" if fetch is None else fetch.problem
    if age > ALERT_DAYS and await feed_service.uses_exchange(connection):
        why = f"; the last fetch: {problem}" if problem else ""
        return [
            f"the newest exchange rate is {age} days old, above 7 sessions wait: networkcore fx import{why}"
        ]
    return [f"exchange rates: {problem}"] if fetch is not None and problem and not fetch.failures else []
