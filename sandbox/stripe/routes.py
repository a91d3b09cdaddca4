"""The table of routes. A `{}` is an id. Must not know: what a handler does."""

from typing import Final

from sandbox.stripe import (
    accounts,
    balances,
    charges,
    checkout,
    control,
    customers,
    disputes,
    events,
    files,
    onboarding,
    payment_intents,
    payment_methods,
    payouts,
    platform_account,
    refunds,
    search,
    setup_intents,
    terminal,
    topups,
    transfers,
    webhook_endpoints,
)
from sandbox.stripe.parameters import Handler

ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", "/v1/customers", customers.create),
    ("GET", "/v1/customers", customers.list_all),
    ("GET", "/v1/customers/search", search.search),
    ("GET", "/v1/customers/{}", customers.retrieve),
    ("POST", "/v1/customers/{}", customers.update),
    ("DELETE", "/v1/customers/{}", customers.delete),
    ("GET", "/v1/customers/{}/payment_methods", payment_methods.list_of_customer),
    ("GET", "/v1/customers/{}/payment_methods/{}", payment_methods.retrieve_of_customer),
    ("POST", "/v1/payment_methods", payment_methods.create),
    ("GET", "/v1/payment_methods", payment_methods.list_all),
    ("GET", "/v1/payment_methods/{}", payment_methods.retrieve),
    ("POST", "/v1/payment_methods/{}", payment_methods.update),
    ("POST", "/v1/payment_methods/{}/attach", payment_methods.attach),
    ("POST", "/v1/payment_methods/{}/detach", payment_methods.detach),
    ("POST", "/v1/payment_intents", payment_intents.create),
    ("GET", "/v1/payment_intents", payment_intents.list_all),
    ("GET", "/v1/payment_intents/search", search.search),
    ("GET", "/v1/payment_intents/{}", payment_intents.retrieve),
    ("POST", "/v1/payment_intents/{}", payment_intents.update),
    ("POST", "/v1/payment_intents/{}/confirm", payment_intents.confirm),
    ("POST", "/v1/payment_intents/{}/capture", payment_intents.capture),
    ("POST", "/v1/payment_intents/{}/cancel", payment_intents.cancel),
    ("POST", "/v1/payment_intents/{}/increment_authorization", payment_intents.increment),
    ("POST", "/v1/checkout/sessions", checkout.create),
    ("GET", "/v1/checkout/sessions/{}", checkout.retrieve),
    ("POST", "/v1/checkout/sessions/{}/expire", checkout.expire),
    ("GET", "/v1/charges", charges.list_all),
    ("GET", "/v1/charges/search", search.search),
    ("GET", "/v1/charges/{}", charges.retrieve),
    ("POST", "/v1/charges/{}", charges.update),
    ("POST", "/v1/refunds", refunds.create),
    ("GET", "/v1/refunds", refunds.list_all),
    ("GET", "/v1/refunds/{}", refunds.retrieve),
    ("POST", "/v1/refunds/{}", refunds.update),
    ("GET", "/v1/disputes", disputes.list_all),
    ("GET", "/v1/disputes/{}", disputes.retrieve),
    ("POST", "/v1/disputes/{}", disputes.update),
    ("POST", "/v1/disputes/{}/close", disputes.close),
    ("POST", "/v1/files", files.create),
    ("GET", "/v1/files", files.list_all),
    ("GET", "/v1/files/{}", files.retrieve),
    ("POST", "/v1/setup_intents", setup_intents.create),
    ("GET", "/v1/setup_intents", setup_intents.list_all),
    ("GET", "/v1/setup_intents/{}", setup_intents.retrieve),
    ("POST", "/v1/setup_intents/{}", setup_intents.update),
    ("POST", "/v1/setup_intents/{}/confirm", setup_intents.confirm),
    ("POST", "/v1/setup_intents/{}/cancel", setup_intents.cancel),
    ("GET", "/v1/setup_attempts", setup_intents.list_attempts),
    ("GET", "/v1/mandates/{}", setup_intents.retrieve_mandate),
    ("POST", "/v1/payouts", payouts.create),
    ("GET", "/v1/payouts", payouts.list_all),
    ("GET", "/v1/payouts/{}", payouts.retrieve),
    ("POST", "/v1/payouts/{}", payouts.update),
    ("POST", "/v1/payouts/{}/cancel", payouts.cancel),
    ("POST", "/v1/accounts", platform_account.create_connected),
    ("POST", "/v1/account_links", onboarding.create_link),
    ("GET", "/v1/accounts", platform_account.list_connected),
    ("GET", "/v1/account", platform_account.retrieve_own),
    ("GET", "/v1/accounts/{}", platform_account.retrieve),
    ("POST", "/v1/accounts/{}", accounts.update),
    ("DELETE", "/v1/accounts/{}", accounts.delete),
    ("POST", "/v1/transfers", transfers.create),
    ("GET", "/v1/transfers", transfers.list_all),
    ("GET", "/v1/transfers/{}", transfers.retrieve),
    ("POST", "/v1/transfers/{}", transfers.update),
    ("POST", "/v1/transfers/{}/reversals", transfers.reverse),
    ("GET", "/v1/transfers/{}/reversals", transfers.list_reversals),
    ("GET", "/v1/transfers/{}/reversals/{}", transfers.retrieve_reversal),
    ("POST", "/v1/topups", topups.create),
    ("GET", "/v1/topups", topups.list_all),
    ("GET", "/v1/topups/{}", topups.retrieve),
    ("POST", "/v1/topups/{}/cancel", topups.cancel),
    ("POST", "/v1/terminal/locations", terminal.create_location),
    ("GET", "/v1/terminal/locations", terminal.list_locations),
    ("GET", "/v1/terminal/locations/{}", terminal.retrieve_location),
    ("POST", "/v1/terminal/connection_tokens", terminal.create_connection_token),
    ("POST", "/v1/terminal/readers", terminal.create_reader),
    ("GET", "/v1/terminal/readers", terminal.list_readers),
    ("GET", "/v1/terminal/readers/{}", terminal.retrieve_reader),
    ("POST", "/v1/terminal/readers/{}/process_payment_intent", terminal.process_payment_intent),
    ("POST", "/v1/test_helpers/terminal/readers/{}/present_payment_method", terminal.present_payment_method),
    ("GET", "/v1/balance", balances.retrieve),
    ("GET", "/v1/balance_settings", platform_account.retrieve_balance_settings),
    ("GET", "/v1/balance_transactions", balances.list_transactions),
    ("GET", "/v1/balance_transactions/{}", balances.retrieve_transaction),
    ("GET", "/v1/events", events.list_all),
    ("GET", "/v1/events/{}", events.retrieve),
    ("POST", "/v1/webhook_endpoints", webhook_endpoints.create),
    ("GET", "/v1/webhook_endpoints", webhook_endpoints.list_all),
    ("GET", "/v1/webhook_endpoints/{}", webhook_endpoints.retrieve),
    ("POST", "/v1/webhook_endpoints/{}", webhook_endpoints.update),
    ("DELETE", "/v1/webhook_endpoints/{}", webhook_endpoints.delete),
    ("GET", "/_sandbox/summary", control.summary),
    ("GET", "/_sandbox/health", control.health),
    ("POST", "/_sandbox/account", platform_account.set_account),
    ("POST", "/_sandbox/restricted_keys", platform_account.restrict_key),
    ("POST", "/_sandbox/faults", control.add_fault),
    ("GET", "/_sandbox/faults", control.list_faults),
    ("DELETE", "/_sandbox/faults", control.clear_faults),
    ("DELETE", "/_sandbox/faults/{}", control.clear_faults),
    ("GET", "/_sandbox/clock", control.show_clock),
    ("POST", "/_sandbox/clock", control.set_clock),
    ("DELETE", "/_sandbox/clock", control.reset_clock),
    ("POST", "/_sandbox/payment_intents/{}/authenticate", control.authenticate_payment),
    ("POST", "/_sandbox/payment_intents/{}/present", control.present_card),
    ("POST", "/_sandbox/payment_intents/{}/capture", control.capture_by_hand),
    ("POST", "/_sandbox/checkout_sessions/{}/visit", checkout.visit),
    ("POST", "/_sandbox/checkout_sessions/{}/pay", checkout.pay),
    ("POST", "/_sandbox/setup_intents/{}/authenticate", control.authenticate_setup),
    ("POST", "/_sandbox/payment_methods/{}/replace_card", control.replace_card),
    ("POST", "/_sandbox/mandates/{}/revoke", control.revoke_mandate),
    ("POST", "/_sandbox/accounts/{}/complete", onboarding.complete),
    ("POST", "/_sandbox/accounts/{}/restrict", onboarding.restrict_account),
    ("POST", "/_sandbox/account_links/{}/visit", onboarding.visit),
    ("POST", "/_sandbox/refunds/{}/fail", control.fail_refund),
    ("POST", "/_sandbox/payouts/{}/pay", control.pay_payout),
    ("POST", "/_sandbox/payouts/{}/fail", control.fail_payout),
    ("POST", "/_sandbox/topups/{}/succeed", control.topup_succeeds),
    ("POST", "/_sandbox/topups/{}/fail", control.topup_fails),
    ("POST", "/_sandbox/topups/{}/reverse", control.topup_is_reversed),
    ("POST", "/_sandbox/charges/{}/dispute", control.dispute_charge),
    ("POST", "/_sandbox/disputes/{}/close", control.close),
    ("POST", "/_sandbox/disputes/{}/escalate", control.escalate_dispute),
    ("POST", "/_sandbox/disputes/{}/prevent", control.prevent_dispute),
    ("POST", "/_sandbox/disputes/{}/appeal", control.appeal_dispute),
)


_NAMESPACES: Final = frozenset({"checkout", "terminal"})


class RouteTable:
    """Finds the handler and the ids of a path; a literal wins over an id."""

    def __init__(self, routes: tuple[tuple[str, str, Handler], ...] = ROUTES) -> None:
        self._by_shape: dict[tuple[str, ...], Handler] = {}
        self._paths: set[tuple[str, ...]] = set()
        for method, template, handler in routes:
            parts = tuple(template.strip("/").split("/"))
            self._by_shape[method, *parts] = handler
            self._paths.add(parts)

    def find(self, method: str, path: str) -> tuple[Handler | None, tuple[str, ...], bool]:
        """(handler, ids, whether the path exists under any method)."""
        parts = path.strip("/").split("/")
        exists = False
        for shape in _shapes(parts):
            exists = exists or shape in self._paths
            handler = self._by_shape.get((method, *shape))
            if handler is not None:
                ids = tuple(part for part, name in zip(parts, shape, strict=True) if name == "{}")
                return handler, ids, True
        return None, (), exists


def _shapes(parts: list[str]) -> list[tuple[str, ...]]:
    """The templates a path may match: literal first, then ids in the third and the fifth place.

    Resources of a namespace have their id behind it: `terminal/readers`, `checkout/sessions`.
    """
    literal = tuple(parts)
    if len(parts) <= 2:  # noqa: PLR2004 - /v1/resource has no id
        return [literal]
    spaces = [name for name in parts[1:3] if name in _NAMESPACES]
    if spaces:  # named below the resource: the id is one or two places further
        at = parts.index(spaces[0]) + 2
        return [literal, (*parts[:at], "{}", *parts[at + 1 :])] if len(parts) > at else [literal]
    one = (*parts[:2], "{}", *parts[3:])
    if len(parts) <= 4:  # noqa: PLR2004 - /v1/resource/id/verb
        return [literal, one]
    return [literal, one, (*parts[:2], "{}", parts[3], "{}", *parts[5:])]
