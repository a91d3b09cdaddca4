"""`networkcore listen` and `networkcore trigger`: what is read from the command line, and what is known."""

import base64
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import click
import pytest

from gateway.cli import listen, trigger
from gateway.cli.api_client import ApiAnswerError
from gateway.ids import new_id
from gateway.webhooks.events import EventType
from gateway.webhooks.signing import SigningKey, WebhookScheme, new_secret, public_key_text, secret_text
from tests.guides import ROOT


def test_the_first_cursor_stands_before_the_next_event_and_behind_those_of_the_day_before() -> None:
    now = datetime.now(UTC)
    assert UUID(listen.first_cursor(now)) < new_id() < UUID(listen.first_cursor(now + timedelta(days=1)))


def test_a_secret_is_read_as_it_is_shown() -> None:
    secret = new_secret()
    assert listen.read_secret(secret_text(secret)) == SigningKey(secret=secret)


def test_a_private_key_signs_asymmetrically_and_only_its_public_key_is_shown() -> None:
    secret = new_secret()
    key = listen.read_secret("whsk_" + base64.b64encode(secret).decode())
    assert key == SigningKey(scheme=WebhookScheme.ASYMMETRIC, secret=secret)
    assert key.public_key is not None
    assert listen.describe_key(key, fresh=True) == f"Public key: {public_key_text(key.public_key)}"
    with_public = base64.b64encode(secret + key.public_key).decode()
    assert listen.read_secret(f"whsk_{with_public}") == key
    assert listen.describe_key(SigningKey(secret=secret), fresh=False) == "Signing with your secret."


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_?", "c2VjcmV0", "WHSEC_c2VjcmV0", "whsk_c2VjcmV0", "whsk_" + "A" * 88]
)
def test_what_is_no_secret_is_not_shown(text: str) -> None:
    with pytest.raises(click.UsageError, match=re.escape("--secret is no signing secret")):
        listen.read_secret(text)


def test_types_are_known_before_anything_is_asked() -> None:
    assert listen.read_types("capture.succeeded, refund.failed") == "capture.succeeded,refund.failed"
    with pytest.raises(
        click.UsageError, match=r"no event 'capture.succeded'; did you mean capture.succeeded\?"
    ):
        listen.read_types("capture.succeded")


def test_a_problem_is_one_line() -> None:
    error = ApiAnswerError("GET /x", 404, {"code": "not_found", "detail": "There is no such thing."})
    assert (str(error), error.code) == ("GET /x: 404 not_found: There is no such thing.", "not_found")
    assert str(ApiAnswerError("GET /x", 502, {})) == "GET /x: 502 without a code: the answer says no more"


def test_the_guide_lists_what_can_be_triggered() -> None:
    guide = (ROOT / "docs/guides/webhooks.md").read_text(encoding="utf-8")
    section = guide.partition("## While you develop")[2].partition("\n## ")[0]
    named = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", section) if name in set(EventType)}
    assert named == {one.value for one in trigger.RECIPES}
