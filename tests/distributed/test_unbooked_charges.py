"""Money at the PSP that is in no book: the tests of one machine on a distributed database."""

from tests.integration import test_unbooked_charges as of_one_machine
from tests.integration.unbooked_charge_play import ground, plain, played

__all__ = ["ground", "plain", "played"]  # fixtures
globals().update({name: test for name, test in vars(of_one_machine).items() if name.startswith("test_")})
