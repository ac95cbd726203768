"""A restricted unpickler: builds dictionaries, lists and tensors, and can call nothing else.

`pickletools` takes the stream apart without running it; what is executed is the table of opcodes below, on plain
data. A global is a name and stays one: only names that the caller has allowed get past, and "calling" one hands its
arguments to the caller's own function. Keys of dictionaries are strings and integers, so that no hash recurses.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from models.errors import WeightsError


@dataclass(frozen=True)
class Global:
    """A name that the pickle refers to, such as `torch.FloatStorage`. It is never imported."""

    name: str


class _Mark:
    """Where a run of values on the stack begins."""


_MARK = _Mark()
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_WORDS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
}


class Unpickler:
    """Reads one pickle after the other from a stream.

    `functions` maps the globals that may be called to what stands in for them here; `types` are globals that may be
    mentioned, but not called. `resolve` turns a persistent id into a value.
    """

    def __init__(
        self,
        stream: BinaryIO,
        where: str,
        functions: Mapping[str, Callable[..., Any]],
        types: frozenset[str],
        resolve: Callable[[Any], Any],
    ) -> None:
        self._stream, self._where = stream, where
        self._functions, self._types, self._resolve = functions, types, resolve
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The next value of the stream.

        Raises:
            WeightsError: the pickle is damaged, or asks for something that is not allowed.
        """
        self._stack, self._memo = [], {}
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                self._step(opcode.name, argument)
            (value,) = self._stack
        except WeightsError:
            raise
        except Exception as exc:  # whatever a damaged stream makes of the steps
            raise WeightsError(
                f"{self._where}: its pickle is damaged ({exc}); expected a state dict that torch.save wrote. "
                "Download or save it again."
            ) from exc
        return value

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "APPEND":
                _list(stack[-2]).append(stack.pop())
            case "APPENDS":
                items = self._marked()
                _list(stack[-1]).extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set(stack[-1], [key, value])
            case "SETITEMS":
                items = self._marked()
                self._set(stack[-1], items)
            case "GLOBAL":
                stack.append(self._global(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(self._global(f"{module}.{attribute}"))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._call(function, arguments))
            case "BUILD":  # attributes of an OrderedDict, in which PyTorch keeps the versions of its modules
                stack.pop()
            case "BINPERSID":
                stack.append(self._resolve(stack.pop()))
            case _ if name in _TUPLES:
                count = _TUPLES[name]
                stack[-count:] = [tuple(stack[-count:])]
            case _ if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case _ if name in _WORDS:
                stack.append(_WORDS[name])
            case _ if name in _LITERALS:
                stack.append(argument)
            case _:
                raise WeightsError(
                    f"{self._where}: its pickle uses {name}; expected only what a state dict needs. "
                    "Save model.state_dict() with torch.save and give that file."
                )

    def _marked(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        start = next(i for i in reversed(range(len(self._stack))) if self._stack[i] is _MARK)
        items = self._stack[start + 1 :]
        del self._stack[start:]
        return items

    def _set(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, dict) or not all(isinstance(key, str | int) for key in items[::2]):
            raise ValueError("keys that are neither strings nor integers, or no dictionary to put them in")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _global(self, name: str) -> Global:
        if name not in self._functions and name not in self._types:
            raise WeightsError(
                f"{self._where}: loading it would run {name}, which weights have no need of; refused. Expected a state "
                "dict: save model.state_dict() with torch.save and give that file, or take one that you trust."
            )
        return Global(name)

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Global) or function.name not in self._functions:
            raise ValueError("a call of something that is not a function")
        return self._functions[function.name](*arguments)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("values appended to something that is not a list")
    return value
