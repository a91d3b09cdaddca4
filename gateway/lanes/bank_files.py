"""The lanes of the bank's files, by the settings: none without directories.

Owns: what must be in place before the first file is written or read. Must not know what the lanes do.
"""

import json
import os
import stat
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

from clearing.errors import InvalidPaymentError
from clearing.iso20022.pain001 import check_debtor
from clearing.parties.bank_details import BankDetails, PostalAddress
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.config import Settings
from gateway.database import Pool
from gateway.errors import ConfigurationError
from gateway.lanes.bank_inbox import BankInboxLane, Inbox
from gateway.lanes.bank_outbox import BankOutboxLane, Outbox


def bank_lanes(
    settings: Settings, *, pool: Pool, clock: Clock, clearing: ClearingService
) -> list[BankOutboxLane | BankInboxLane]:
    """The lanes that the settings ask for. Raises ConfigurationError, naming the setting."""
    found: list[BankOutboxLane | BankInboxLane] = []
    if settings.bank_account_path is not None and settings.bank_outbox_path is not None:
        found.append(
            BankOutboxLane(
                pool=pool,
                clock=clock,
                clearing=clearing,
                account=read_account(Path(settings.bank_account_path)),
                outbox=Outbox(_directory(settings.bank_outbox_path, "NETWORKCORE_BANK_OUTBOX_PATH")),
                cut_off=time.fromisoformat(settings.bank_cut_off),
                zone=ZoneInfo(settings.bank_time_zone),
            )
        )
    if settings.bank_inbox_path is not None:
        inbox = Inbox(_directory(settings.bank_inbox_path, "NETWORKCORE_BANK_INBOX_PATH"))
        inbox.open()
        found.append(BankInboxLane(pool=pool, clock=clock, clearing=clearing, inbox=inbox))
    return found


def read_account(path: Path) -> BankDetails:
    """The paying account from its JSON file. Raises ConfigurationError, naming what is wrong."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        account = BankDetails(**{**told, "address": PostalAddress(**told["address"])})
        check_debtor(account)
    except OSError as error:
        raise ConfigurationError(f"{path}: the paying account can't be read: {error.strerror}") from None
    except InvalidPaymentError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path}: expected name, iban, bic and address (street, building, post_code, town, country): "
            f"{error}"
        ) from None
    return account


def _directory(text: str, variable: str) -> Path:
    """A directory that we may write to and strangers may not: whoever writes there pays."""
    path = Path(text)
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{variable} names {text}, which is no directory that can be read and written"
        )
    if path.stat().st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"{variable} names {text}, which everybody may write to: chmod o-w")
    return path
