"""A parking app: charging is one line on the parking ticket, and a webhook says what it cost.

    python parking_app.py 'DE*RHN*E1*0001' http://127.0.0.1:8091     # needs BASE, KEY and networkcore-sdk

Your funded account pays; the second argument is where this program listens and the gateway reaches it.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

from networkcore_sdk.api.authorizations import create_authorization
from networkcore_sdk.api.webhooks import create_webhook_endpoint
from networkcore_sdk.connection import connect, new_key, unwrap
from networkcore_sdk.models import AuthorizationBody, WebhookEndpointBody
from networkcore_sdk.webhooks import WebhookVerificationError, verify_webhook


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is authentic, once a session, and answers at once."""

    secret = ""
    captures: dict[str, dict] = {}  # your database: unique by session

    def do_POST(self) -> None:  # the name that the library calls
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            capture = verify_webhook(body, self.headers, self.secret).data.to_dict()
        except WebhookVerificationError:
            self.send_error(401)
            return
        self.captures[capture["session"]] = capture
        self.send_response(204)
        self.end_headers()


evse_id, listen = sys.argv[1:]
server = HTTPServer((urlsplit(listen).hostname, urlsplit(listen).port), Receiver)
with connect(os.environ["BASE"], os.environ["KEY"]) as client:
    hook = WebhookEndpointBody.from_dict({"url": listen, "events": ["capture.succeeded"]})
    Receiver.secret = unwrap(create_webhook_endpoint.sync(client=client, body=hook)).secret
    wanted = {"evse_id": evse_id, "method": "app", "payment": {"type": "partner_account"}}
    body = AuthorizationBody.from_dict(wanted | {"session_ref": "ticket-4711"})
    made = unwrap(create_authorization.sync(client=client, body=body, idempotency_key=new_key()))
print(f"ticket-4711: charging may start ({made.session})", flush=True)
while made.session not in Receiver.captures:
    server.handle_request()
paid = Receiver.captures[made.session]
print(f"ticket-4711: charging {paid['amount'] / 100:.2f} {paid['currency']}")
