"""A net's weights on their way: bytes and what they hash to. No torch here, so that who passes them on needs none."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """A state dict as bytes, and their SHA-256 in hex."""

    data: bytes | memoryview
    digest: str

    @classmethod
    def of(cls, data: bytes) -> "Weights":
        return cls(data, hashlib.sha256(data).hexdigest())
