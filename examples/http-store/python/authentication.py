"""Who asks. Comparisons take the same time whatever is shown."""

import hashlib
import hmac

from protocol import Ask

PROTOCOL = "agent-host-store/1"


class Unknown(Exception):
    """The credentials are not those of a host."""


class Authentication:
    def __init__(self, bearer: str | None, secret: str | None) -> None:
        if not (bearer or secret):
            raise SystemExit("set STORE_BEARER to a token or STORE_HMAC to a secret, or both: without, everybody could read all sessions")
        self.bearer, self.secret = bearer, secret

    @property
    def names(self) -> list[str]:
        return [name for name, value in (("bearer", self.bearer), ("hmac", self.secret)) if value]

    def check(self, ask: Ask) -> None:
        scheme, _, shown = ask.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and self.bearer:
            expected = self.bearer
        elif scheme == "HMAC-SHA256" and self.secret:
            headers = [ask.headers.get(name, "") for name in ("request-deadline", "session-epoch", "idempotency-key")]
            text = "\n".join([PROTOCOL, ask.method, ask.target, *headers, hashlib.sha256(ask.body).hexdigest()])
            expected = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        else:
            raise Unknown(f"the request has no authorization of these: {', '.join(self.names)}")
        if not hmac.compare_digest(expected.encode(), shown.encode()):
            raise Unknown("the token or the signature is not the right one")
