"""What all results have in common: how they become JSON, and are read from it again."""

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Part(BaseModel):
    """A part of a result: an object of its JSON document, its fields in the order of the keys.

    A field that is given None is null in the document; one that is not given is absent from it.
    A key that is no field is refused where a part is made. Pydantic builds its validators when the
    first of its kind is made: of some 150 kinds a command makes a few.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def read(cls, document: object) -> Self:
        """Return what a document of JSON says; what a newer version adds is passed over.

        Raises:
            ValidationError: when it lacks or garbles a field.
        """
        return cls.model_validate(document, extra="ignore")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return it with other values of some fields, which are judged as those it was made of."""
        copied = super().model_copy(deep=deep)
        given = {name: getattr(copied, name) for name in copied.model_fields_set}
        return self.model_validate({**given, **(update or {})})

    def stating(self, **reasons: str | None) -> Self:
        """Return it with those of these texts that there are; the others stay absent."""
        return self.model_copy(update={key: text for key, text in reasons.items() if text})


class Result(Part):
    """What a command answers."""

    command: str
    """The command that answered, as it is typed after `thorax`."""

    @model_validator(mode="after")
    def _names_its_command(self) -> Self:
        self.__pydantic_fields_set__.add("command")
        return self

    def document(self) -> dict[str, Any]:
        """Return the JSON document of this result as Python has it."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_json(self) -> str:
        """Return the JSON document as the command prints it."""
        return json.dumps(self.document(), indent=2, allow_nan=False) + "\n"


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a document: where, and what."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
