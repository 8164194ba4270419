"""Proofs in Redis: what each proves, under its digest, until it is redeemed or its time is over."""

from otp_service.core import proofs
from otp_service.store import keys
from otp_service.store.scripts import Scripts


class Proofs:
    """Redeeming."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def spend(self, proof: str, *, caller: str) -> dict[str, str] | None:
        """
        Return what the proof proves, once, to the caller it is meant for; None for everything else.

        Raises:
            Unavailable: Redis; the proof may be spent.
        """
        bucket = proofs.bucket_of(proof)
        if bucket is None:
            return None
        answer = await self._scripts.run(
            "spend_proof",
            [keys.proof(bucket, proofs.digest(proof))],
            {"caller": caller},
            durable=True,
        )
        return dict(answer["fields"]) if answer["verdict"] == "spent" else None
