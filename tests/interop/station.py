"""A charging station of the `iso15118` package that authorizes vehicles at our hook.

Runs in that package's environment: python station.py <path of the hook's unix socket> <session reference>.
Its only translation is of form: the package gives base64url hashes and decimal serials, OCPP requires
hexadecimal.
"""

import asyncio
import base64
import http.client
import json
import socket
import sys

from iso15118.secc import SECCHandler
from iso15118.secc.controller.interface import AuthorizationResponse, ServiceStatus
from iso15118.secc.controller.simulator import SimEVSEController
from iso15118.secc.secc_settings import Config
from iso15118.shared.exificient_exi_codec import ExificientEXICodec
from iso15118.shared.messages.enums import AuthorizationStatus
from iso15118.shared.messages.iso15118_2.datatypes import ResponseCode
from peer_timeouts import FACTOR, multiply_timeouts

ANSWER_SECONDS = 10 * FACTOR
CODES = {
    "Accepted": ResponseCode.OK,
    "CertificateExpired": ResponseCode.FAILED_CERTIFICATE_EXPIRED,
    "CertificateRevoked": ResponseCode.FAILED_CERTIFICATE_REVOKED,
    "NoCertificateAvailable": ResponseCode.FAILED_NO_CERTIFICATE_AVAILABLE,
}


class AuthorizationConnection(http.client.HTTPConnection):
    """HTTP over a unix socket: reachable from any network namespace."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)


def as_hex(text: str) -> str:
    return base64.urlsafe_b64decode(text).hex()


def as_ocpp(entry: dict[str, str]) -> dict[str, str]:
    return {
        "hashAlgorithm": entry["hash_algorithm"],
        "issuerNameHash": as_hex(entry["issuer_name_hash"]),
        "issuerKeyHash": as_hex(entry["issuer_key_hash"]),
        "serialNumber": f"{int(entry['serial_number']):x}",
        "responderURL": entry["responder_url"],
    }


class Station(SimEVSEController):
    """Authorizes a contract at the hook."""

    def __init__(self, socket_path: str, session_ref: str) -> None:
        super().__init__()
        self._socket_path = socket_path
        self._session_ref = session_ref

    async def is_authorized(
        self,
        id_token: str | None = None,
        id_token_type: object = None,
        certificate_chain: bytes | None = None,
        hash_data: list[dict[str, str]] | None = None,
    ) -> AuthorizationResponse:
        request: dict[str, object] = {"idToken": {"idToken": id_token, "type": "eMAID"}}
        if certificate_chain is not None:
            request["certificate"] = certificate_chain.decode()
        if hash_data:
            request["iso15118CertificateHashData"] = [as_ocpp(entry) for entry in hash_data]
        answer = await asyncio.to_thread(self._post, request)
        print("ANSWER", json.dumps(answer), flush=True)  # noqa: T201 - read by the test
        accepted = answer["idTokenInfo"]["status"] == "Accepted"
        return AuthorizationResponse(
            authorization_status=AuthorizationStatus.ACCEPTED if accepted else AuthorizationStatus.REJECTED,
            certificate_response_status=CODES.get(answer["certificateStatus"], ResponseCode.FAILED),
        )

    def _post(self, request: dict[str, object]) -> dict[str, object]:
        connection = AuthorizationConnection(self._socket_path)
        try:
            path = "/v1/plug-and-charge/ocpp/2.0.1/authorize"
            headers = {"Content-Type": "application/json", "Session-Ref": self._session_ref}
            connection.request("POST", path, body=json.dumps(request), headers=headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


async def main() -> None:
    config = Config()
    config.load_envs()
    station = Station(sys.argv[1], sys.argv[2])
    await station.set_status(ServiceStatus.STARTING)
    handler = SECCHandler(exi_codec=ExificientEXICodec(), evse_controller=station, config=config)
    await handler.start(config.iface)


if __name__ == "__main__":
    multiply_timeouts()
    asyncio.run(main())
