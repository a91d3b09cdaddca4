"""The service on a real database: one decision per session, recorded, repeated, never crossed."""

from gateway.database import Pool
from pnc.authorization import CertificateStatus, IdTokenStatus
from tests.fakes.pnc_market import NOW, open_market


async def test_a_good_contract_awaits_its_payment_and_is_accepted_once_secured(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await market.ask(market.pem_request())
    assert answer.decision.payment_needed
    assert answer.decision.statuses != (CertificateStatus.ACCEPTED, IdTokenStatus.ACCEPTED)
    assert answer.contract is not None
    assert answer.contract.payment_reference == "pm_card_1"
    done = await market.service.conclude(
        pool, answer.decision.id, secured=True, authorization_id="aut_1", now=NOW
    )
    assert done.statuses == (CertificateStatus.ACCEPTED, IdTokenStatus.ACCEPTED)
