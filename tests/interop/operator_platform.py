"""A charge point operator's platform of the `extrawest-ocpi` package, with its objects in memory.

Runs in that package's environment: python operator_platform.py <port> <token A>. `/test/objects` takes the
objects that the operator publishes; `/test/state` shows what the platform was given.
"""

import os
import secrets
import sys
from typing import Any

PORT, TOKEN_A = int(sys.argv[1]), sys.argv[2]
os.environ |= {
    "OCPI_HOST": f"127.0.0.1:{PORT}",
    "PROTOCOL": "http",
    "COUNTRY_CODE": "NL",
    "PARTY_ID": "ABC",
}

import uvicorn  # noqa: E402 - the package reads its settings when it is imported
from fastapi import Request  # noqa: E402 - likewise
from py_ocpi import get_application  # noqa: E402 - likewise
from py_ocpi.core.authentication.authenticator import Authenticator  # noqa: E402 - likewise
from py_ocpi.core.crud import Crud  # noqa: E402 - likewise
from py_ocpi.core.enums import ModuleID, RoleEnum  # noqa: E402 - likewise
from py_ocpi.modules.versions.enums import VersionNumber  # noqa: E402 - likewise

OBJECTS: dict[str, dict[str, Any]] = {name: {} for name in ("locations", "tariffs", "sessions", "cdrs")}
TOKENS: dict[str, Any] = {}
PREFERENCES: dict[str, Any] = {}
REGISTRATION: dict[str, Any] = {}  # token_c: the token we send; client: what we gave at the handshake
BASE = f"http://127.0.0.1:{PORT}/ocpi"


def own_credentials() -> dict[str, Any]:
    REGISTRATION["token_c"] = secrets.token_urlsafe(24)
    return {
        "token": REGISTRATION["token_c"],
        "url": f"{BASE}/versions",
        "roles": [
            {
                "role": "CPO",
                "business_details": {"name": "Operator"},
                "party_id": "ABC",
                "country_code": "NL",
            }
        ],
    }


class Tokens(Authenticator):
    @classmethod
    async def get_valid_token_c(cls) -> list[str]:
        return [REGISTRATION["token_c"]] if "token_c" in REGISTRATION else []

    @classmethod
    async def get_valid_token_a(cls) -> list[str]:
        return [] if "token_c" in REGISTRATION else [TOKEN_A]


class Store(Crud):
    """What the package keeps through us; `given` is the role, then the id or the filters."""

    @classmethod
    async def list(cls, module: ModuleID, *given: Any, **_named: Any) -> tuple[list[Any], int, bool]:
        filters = given[1]
        found = list(OBJECTS[module.value].values())
        page = found[filters["offset"] : filters["offset"] + filters["limit"]]
        return page, len(found), filters["offset"] + len(page) >= len(found)

    @classmethod
    async def get(cls, module: ModuleID, *given: Any, **_named: Any) -> Any:
        key = str(given[1]).lower()
        if module is ModuleID.tokens:
            return TOKENS.get(key)
        if module is ModuleID.credentials_and_registration:
            return REGISTRATION.get("client")
        return OBJECTS[module.value].get(key)

    @classmethod
    async def create(cls, module: ModuleID, *given: Any, **_named: Any) -> Any:
        data = given[1]
        return await cls.update(module, *given[:2], data.get("uid"))

    @classmethod
    async def update(cls, module: ModuleID, *given: Any, **named: Any) -> Any:
        data = given[1]
        if module is ModuleID.credentials_and_registration:
            REGISTRATION["client"] = data
            return own_credentials()
        key = str(named["id"] if "id" in named else given[2]).lower()
        (TOKENS if module is ModuleID.tokens else PREFERENCES)[key] = data
        return data

    @classmethod
    async def delete(cls, *_given: Any, **_named: Any) -> None:
        REGISTRATION.clear()

    @classmethod
    async def do(cls, *_given: Any, **_named: Any) -> Any:
        return None


app = get_application(
    version_numbers=[VersionNumber.v_2_2_1],
    roles=[RoleEnum.cpo],
    crud=Store,
    modules=[
        ModuleID.credentials_and_registration,
        ModuleID.locations,
        ModuleID.tariffs,
        ModuleID.sessions,
        ModuleID.cdrs,
        ModuleID.tokens,
        ModuleID.hub_client_info,
    ],
    authenticator=Tokens,
    http_push=True,
)


@app.post("/test/objects")
async def publish(request: Request) -> dict[str, int]:
    for module, objects in (await request.json()).items():
        OBJECTS[module] |= {found["id"].lower(): found for found in objects}
    return {module: len(found) for module, found in OBJECTS.items()}


@app.get("/test/state")
async def state() -> dict[str, Any]:
    return {"registration": REGISTRATION, "tokens": TOKENS, "preferences": PREFERENCES}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
