"""What a party is shown after a restore of the platform's database.

Owns: this public object. Must not know: how the restore is checked.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Instant, PublicSchema


class PlatformRestoredSchema(PublicSchema):
    """The platform's database was restored: what it answered after `restored_to` may be unknown to it now.

    Read your sessions and events from that time on again, and repeat what you miss under the same
    Idempotency-Key.
    """

    id: str = Field(examples=["rst_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["platform"] = "platform"
    restored_to: Instant = Field(description="the point; later writes are lost unless they were restored")
