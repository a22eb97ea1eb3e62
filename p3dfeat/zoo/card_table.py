"""The fields of a model card, taken one by one and checked."""

from collections.abc import Iterator
from types import UnionType
from typing import Any

from p3dfeat.errors import UsageError


class Table:
    """One table of a card. Each field is taken with its type, and all fields must be taken."""

    def __init__(self, name: str, content: dict[str, Any]):
        self._prefix = f"{name}." if name else ""
        self._content = dict(content)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._content))

    def take(self, field: str, kind: type | UnionType, *default: Any) -> Any:
        if field not in self._content:
            if default:
                return default[0]
            raise UsageError(f"{self._prefix}{field}: missing")
        value = self._content.pop(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = getattr(kind, "__name__", str(kind))
            raise UsageError(f"{self._prefix}{field}: must be a {wanted}, not {value!r}")
        return value

    def done(self) -> None:
        if self._content:
            raise UsageError(f"{self._prefix}{next(iter(self._content))}: unknown field")
