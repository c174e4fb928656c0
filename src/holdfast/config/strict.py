"""What every mapping of the configuration file has in common: nothing is guessed or ignored."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator


class Strict(BaseModel):
    """A part of the file: no key is ignored, no type is guessed, nothing changes afterwards."""

    # Built at the first use: `holdfast --help` should not wait for it.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _tell_known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        """Let whoever explains an unknown key know which ones this mapping may have."""
        if isinstance(data, dict) and isinstance(info.context, dict):
            info.context[id(data)] = frozenset(cls.model_fields)
        return data
