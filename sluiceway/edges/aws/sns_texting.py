"""SNS's operations about text messages: translate, commit, translate.

An account here is never in the SMS sandbox, which on AWS keeps new accounts from writing to strangers.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluiceway.core.store import Store
from sluiceway.edges.aws.operations import Call, Operation, Output
from sluiceway.edges.aws.sns_tokens import from_token, need, to_token
from sluiceway.errors import Conflict, NotFound
from sluiceway.services.topics.texting import Texting, clean_phone

_PAGE = 100  # SNS lists 100 numbers at a time


class TextOperations:
    """The handlers."""

    def __init__(self, store: Store, texting: Texting) -> None:
        self._store = store
        self._texting = texting

    def operations(self) -> Mapping[str, Operation]:
        """Every operation that is here."""
        handlers = {
            "CheckIfPhoneNumberIsOptedOut": self.check,
            "CreateSMSSandboxPhoneNumber": self.no_sandbox,
            "DeleteSMSSandboxPhoneNumber": self.no_sandbox_number,
            "GetSMSAttributes": self.get_attributes,
            "GetSMSSandboxAccountStatus": self.sandbox,
            "ListOriginationNumbers": self.no_numbers,
            "ListPhoneNumbersOptedOut": self.list_opted_out,
            "ListSMSSandboxPhoneNumbers": self.no_numbers,
            "OptInPhoneNumber": self.opt_in,
            "SetSMSAttributes": self.set_attributes,
            "VerifySMSSandboxPhoneNumber": self.no_sandbox_number,
        }
        return {name: Operation(handler, lambda _: "*") for name, handler in handlers.items()}

    async def get_attributes(self, call: Call) -> Output:
        attributes = await self._store.view(self._texting.attributes)
        wanted = call.params.get("attributes")
        return {"attributes": {name: value for name, value in attributes.items() if not wanted or name in wanted}}

    async def set_attributes(self, call: Call) -> Output:
        await self._store.commit(self._texting.set_attributes, call.params.get("attributes") or {})
        return {}

    async def check(self, call: Call) -> Output:
        phone = clean_phone(need(call, "phoneNumber"))
        return {"isOptedOut": await self._store.view(self._texting.opted_out, phone)}

    async def list_opted_out(self, call: Call) -> Output:
        after = from_token(call, 1, "nextToken")
        found = await self._store.view(self._texting.list_opted_out, after[0] if after else "", _PAGE)
        return {"phoneNumbers": found, **({"nextToken": to_token(found[-1])} if len(found) == _PAGE else {})}

    async def opt_in(self, call: Call) -> Output:
        await self._store.commit(self._texting.opt_in, clean_phone(need(call, "phoneNumber")))
        return {}

    async def sandbox(self, call: Call) -> Output:
        return {"IsInSandbox": False}

    async def no_numbers(self, call: Call) -> Output:
        return {"PhoneNumbers": []}

    async def no_sandbox(self, call: Call) -> Output:
        clean_phone(need(call, "PhoneNumber"))
        raise Conflict("sandbox", "This account is not in the SMS sandbox: it may send to every number.")

    async def no_sandbox_number(self, call: Call) -> Output:
        raise NotFound("sandbox_number", "There is no such phone number in the SMS sandbox.")
