"""Drivers who save a payment method: opened by their party, confirmed at the PSP, finished or abandoned.

Owns: what a driver does at the PSP, without a call of ours. Must not know: when it happens, what must hold.
"""

import random
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from gateway.ids import new_id
from tests.simulation.application import Simulated, try_form
from tests.simulation.market import SUPERAPP

RETURN_URL: Final = "https://app.example/back"
_MOST_SETUPS: Final = 5
_CARDS: Final = (
    "pm_card_visa",
    "pm_card_mastercard",
    "pm_card_authenticationRequired",
    "pm_card_visa_chargeDeclined",
    "pm_card_chargeCustomerFail",
)


@dataclass(slots=True, kw_only=True)
class Drivers:
    """The drivers of one seed's super app. `saved` are customers with their saved methods."""

    system: Simulated
    setups: list[tuple[UUID, UUID]] = field(default_factory=list)
    saved: list[tuple[str, str]] = field(default_factory=list)

    @property
    def rng(self) -> random.Random:
        return self.system.rng

    def choose_setup(self) -> tuple[UUID, UUID]:
        """A setup with its customer: another one, or a repeat of one that was asked for before."""
        if len(self.setups) < _MOST_SETUPS and (not self.setups or self.rng.random() < 0.7):
            self.setups.append((new_id(), new_id()))
            return self.setups[-1]
        return self.rng.choice(self.setups)

    async def open_setup(self, setup_id: UUID, customer_id: UUID) -> None:
        """What the party's back end asks of us; the same ids again are the same customer and setup."""
        payers = self.system.payments.payers
        customer = await payers.create_customer(
            customer_id=customer_id, party_id=SUPERAPP, reference=None, metadata={}
        )
        await payers.open_setup(
            setup_id=setup_id,
            party_id=SUPERAPP,
            psp_customer=customer.psp_customer or "",
            off_session=True,
            return_url=RETURN_URL,
            metadata={},
        )

    async def cancel_setup(self) -> None:
        """The party gives a setup up, whatever the driver has done meanwhile."""
        setup_id, _ = self.rng.choice(self.setups)
        await self.system.payments.payers.cancel_setup(party_id=SUPERAPP, setup_id=setup_id)

    async def remove_method(self, method: str) -> None:
        """The driver removes a saved card."""
        await self.system.payments.payers.remove_saved_method(party_id=SUPERAPP, psp_method=method)

    async def act(self) -> str | None:
        """A driver does the next thing at the PSP: enters a card, or answers the bank. Not all ever do.

        Only one whose app has the client secret can: its setup is recorded here.
        """
        rows = await self.system.pool.fetch("SELECT psp_setup FROM gateway.payment_method_setup")
        handed_out = {row["psp_setup"] for row in rows}
        waiting = [
            one
            for one in self.system.objects("setup_intent")
            if one["status"] in {"requires_payment_method", "requires_action"} and one["id"] in handed_out
        ]
        if not waiting:
            return None
        intent = self.rng.choice(waiting)
        if intent["status"] == "requires_action":
            outcome = self.rng.choice(("succeed", "succeed", "fail"))
            self.system.control("POST", f"setup_intents/{intent['id']}/authenticate", {"outcome": outcome})
            return f"driver_returns {intent['id'][-6:]} {outcome}"
        card = self.rng.choice(_CARDS)
        fields = {"payment_method": card, "return_url": RETURN_URL}
        done = try_form(self.system.engine, f"/v1/setup_intents/{intent['id']}/confirm", fields)
        return f"driver_confirms {intent['id'][-6:]} {card}: {done.get('status', 'declined')}"

    async def read_saved(self) -> None:
        """What the drivers may pay with now, by what is recorded here."""
        rows = await self.system.pool.fetch(
            "SELECT c.psp_customer, m.psp_method FROM gateway.payment_method AS m "
            "JOIN gateway.customer AS c ON c.id = m.customer_id "
            "WHERE m.removed_at IS NULL AND m.mandate IS NOT NULL ORDER BY m.id"
        )
        self.saved = [(row["psp_customer"], row["psp_method"]) for row in rows]


async def unrecorded_setups(system: Simulated) -> list[str]:
    """Setups that ended at the PSP and not here, or the reverse: what the PSP saved is what we list."""
    rows = await system.pool.fetch(
        "SELECT s.psp_setup, s.state, m.psp_method, m.removed_at FROM gateway.payment_method_setup AS s "
        "LEFT JOIN gateway.payment_method AS m ON m.setup_id = s.id ORDER BY s.id"
    )
    ours: dict[str, Any] = {row["psp_setup"]: row for row in rows}
    found = []
    for intent in system.objects("setup_intent"):
        row = ours.get(intent["id"])
        if row is None:  # its answer was lost and nobody asked again: no driver has its secret
            if intent["status"] == "succeeded":
                found.append(f"{intent['id']} is not known here")
        elif (intent["status"] == "succeeded") != (row["state"] == "succeeded"):
            found.append(f"{intent['id']} is {intent['status']} at the PSP, {row['state']} here")
        elif intent["status"] == "succeeded" and row["psp_method"] != intent["payment_method"]:
            found.append(f"{intent['id']} saved {intent['payment_method']}, here {row['psp_method']}")
    return found
