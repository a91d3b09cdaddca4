"""Whose object it is: the customers that still exist. Must not know: what is done with them."""

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.problems import Json, missing


def living_customer(
    call: PspApiRequest, customer_id: str, *, param: str = "customer", status: int = 400
) -> Json:
    """A copy of a customer that exists and was not deleted. Raises PspProblem."""
    record = call.state.records.find(customer_id)
    if (
        record is None
        or record.kind != "customer"
        or record.account != call.account
        or "deleted" in record.body
    ):
        raise missing("customer", customer_id, param=param, status=status)
    return dict(record.body)
