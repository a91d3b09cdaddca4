"""A super app: the price before the start, one authorization, the price after the end.

    python super_app.py 'DE*RHN*E1*0001' pm_card_visa      # needs BASE, KEY and networkcore-sdk

The card's token comes from the PSP's form in your app; the operator's CDR ends the session.
"""

import os
import sys
import time

from networkcore_sdk.api.authorizations import create_authorization
from networkcore_sdk.api.quotes import create_quote
from networkcore_sdk.api.sessions import get_session, get_session_price
from networkcore_sdk.connection import NetworkcoreError, connect, new_key, unwrap
from networkcore_sdk.models import AuthorizationBody, QuoteBody

ESTIMATE = {"energy_wh": 30_000, "duration_s": 3600}
ENDED = {"completed", "cleared", "cancelled", "exception"}


def main(evse_id: str, card: str) -> None:
    """Charge once at an EVSE and print what the driver reads."""
    with connect(os.environ["BASE"], os.environ["KEY"]) as client:
        wanted = {"evse_id": evse_id, "estimate": ESTIMATE}
        quote = unwrap(create_quote.sync(client=client, body=QuoteBody.from_dict(wanted)))
        print("price:", *quote.tariff.display, sep="\n  ")
        payment = {"type": "psp_payment_method", "payment_method": card}
        body = AuthorizationBody.from_dict(wanted | {"method": "card", "payment": payment})
        try:
            made = unwrap(create_authorization.sync(client=client, body=body, idempotency_key=new_key()))
        except NetworkcoreError as error:  # its detail says why, in words for a driver's eyes
            sys.exit(f"not authorized: {error.problem.detail}")
        print(f"held: {made.amount / 100:.2f} {made.currency}; plug in now ({made.session})", flush=True)
        while (session := unwrap(get_session.sync(made.session, client=client))).state not in ENDED:
            time.sleep(1)
        price = unwrap(get_session_price.sync(made.session, client=client))
        print("paid:", f"{session.capture.amount / 100:.2f} {session.currency}")
        print(*price.explained, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
