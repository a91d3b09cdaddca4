"""The jobs of the bank's files, by the settings: none without directories.

Owns: what must be in place before the first file is written or read. Must not know what the jobs do.
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
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.config import Settings
from gateway.database import Pool
from gateway.errors import ConfigurationError
from gateway.jobs.bank_inbox import BankInboxJob, Inbox
from gateway.jobs.bank_outbox import BankOutboxJob, Outbox
from gateway.payouts.party_check_service import PartyCheckService


def bank_jobs(
    settings: Settings, *, pool: Pool, clock: Clock, clearing: ClearingServices, checks: PartyCheckService
) -> list[BankOutboxJob | BankInboxJob]:
    """The jobs that the settings ask for. Raises ConfigurationError, naming the setting."""
    found: list[BankOutboxJob | BankInboxJob] = []
    if settings.bank_account_path is not None and settings.bank_outbox_path is not None:
        found.append(
            BankOutboxJob(
                pool=pool,
                clock=clock,
                clearing=clearing,
                account=read_account(Path(settings.bank_account_path)),
                outbox=Outbox(_directory(settings.bank_outbox_path, "NETWORKCORE_BANK_OUTBOX_PATH")),
                cut_off=time.fromisoformat(settings.bank_cut_off),
                zone=ZoneInfo(settings.bank_time_zone),
                checks=checks,
            )
        )
    if settings.bank_inbox_path is not None:
        inbox = Inbox(_directory(settings.bank_inbox_path, "NETWORKCORE_BANK_INBOX_PATH"))
        inbox.open()
        found.append(BankInboxJob(pool=pool, clock=clock, clearing=clearing, inbox=inbox))
    return found


def read_account(path: Path) -> BankDetails:
    """The paying account from its JSON file. Raises ConfigurationError, naming what is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        account = BankDetails(**{**content, "address": PostalAddress(**content["address"])})
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
