"""Credentials as Google's libraries want them: a key of our own, and the endpoint that gives tokens for it."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions, jwt

EMAIL = "braid@test.iam.gserviceaccount.com"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass
class ServiceAccount:
    """A made-up service account, and what knows its tokens again.

    Attributes:
      token_uri: where tokens are asked for.
      tokens: those given so far.
    """

    token_uri: str
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def private_key(self) -> str:
        """As the file holds it."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._key.private_bytes(*form).decode()

    def write(self, path: Path) -> Path:
        """Writes the file that GOOGLE_APPLICATION_CREDENTIALS names."""
        fields = {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": "test",
            "private_key": self.private_key,
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": self.token_uri,
        }
        path.write_text(json.dumps(fields))
        return path

    def token(self, form: str) -> str | None:
        """A new token for a signed request, or None where the signature is not this account's."""
        given = {key: values[0] for key, values in parse_qs(form).items()}
        if given.get("grant_type") != GRANT or not self._signed(given.get("assertion", "")):
            return None
        self.tokens.append(f"ya29.{secrets.token_urlsafe(24)}")
        return self.tokens[-1]

    def knows(self, authorization: str) -> bool:
        """Whether an `Authorization` header bears a token given here, or one that the account signed itself."""
        token = authorization.removeprefix("Bearer ")
        return token in self.tokens or self._signed(token)

    def _signed(self, token: str) -> bool:
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            return bool(jwt.decode(token, certs=public)["iss"] == EMAIL)
        except (ValueError, exceptions.GoogleAuthError):
            return False
