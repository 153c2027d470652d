"""A small filter language over columns, for `select --where`; it becomes an Arrow expression, never Python.

    clap_score >= 0.4 and duration_s > 5
    0.1 <= speech_ratio < 0.5 or is_null(speech_ratio)
    license in ["CC0", "CC-BY"] and not contains(lower(caption), "wind")
    bandwidth_hz >= 8000 and coalesce(mono_fold_db, 0) > -12

Python's own parser reads the text and only the node kinds below are taken, so nothing in it can be run.
Nulls behave as in SQL: a comparison with null is unknown, `not` of unknown is unknown, and a row whose
condition is unknown is left out; `coalesce(column, value)` is the value where the column is null.
A mistake is an `ExpressionError` that says where it stands.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Longer texts are refused before they are parsed: a deep nest could exhaust the parser's stack.
MAX_CHARACTERS = 4000

#: Columns that are computed: name -> (Arrow expression, the stored column it needs, kind).
DERIVED: dict[str, tuple[pa.compute.Expression, str, str]] = {
    "duration_s": (pc.field("duration_ms").cast(pa.float64()) / 1000.0, "duration_ms", "number"),
}

FUNCTIONS = ('contains(text, "word")', "lower(text)", "is_null(column)", "coalesce(column, value)")
_ARGUMENTS = {"contains": 2, "lower": 1, "is_null": 1, "coalesce": 2}

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}

_HINTS: dict[type[ast.AST], str] = {
    ast.BitAnd: "write `and`",
    ast.BitOr: "write `or`",
    ast.Invert: "write `not`",
}


class ExpressionError(ValueError):
    """A filter that cannot be understood; the message names the place."""


@dataclass(frozen=True)
class Filter:
    """A checked filter: the Arrow expression, the stored columns it reads, and its text."""

    expression: pa.compute.Expression
    columns: frozenset[str]
    text: str


@dataclass(frozen=True)
class _Value:
    """Part of an expression. `kind` is number, text or truth; `constant` holds a literal's value.

    `single` marks single-precision columns: 0.7 must mean the stored float32 0.7, which is a little less.
    """

    expression: Any
    kind: str
    constant: Any = None
    single: bool = False


def parse(text: str, schema: pa.Schema) -> Filter:
    """Read a filter over the columns of `schema`; ExpressionError when it is not one."""
    return _Reader(text, schema).read()


class _Reader:
    def __init__(self, text: str, schema: pa.Schema) -> None:
        self.text = " ".join(text.splitlines()) if "\n" in text else text
        self.schema = schema
        self.kinds = {field.name: _kind(field.type) for field in schema}
        self.used: set[str] = set()

    def read(self) -> Filter:
        if len(self.text) > MAX_CHARACTERS:
            size = len(self.text)
            raise ExpressionError(f"the filter has {size} characters; the limit is {MAX_CHARACTERS}")
        try:
            tree = ast.parse(self.text.strip(), mode="eval")
            value = self._value(tree.body)
        except SyntaxError as error:
            raise ExpressionError(self._say(error.offset or 1, _syntax_hint(self.text, error))) from error
        except (RecursionError, MemoryError) as error:
            raise ExpressionError("the filter is nested too deeply") from error
        except ValueError as error:  # a null byte, in some Python versions
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f"the filter cannot be read: {error}") from error
        condition = self._truth(value, tree.body)
        return Filter(condition, frozenset(self.used), self.text.strip())

    # Each kind of node, by name. Whatever has no method here is refused.

    def _value(self, node: ast.expr) -> _Value:
        handler = getattr(self, f"_read_{type(node).__name__.lower()}", None)
        if handler is None:
            raise self._error(node, _what(node) + " is not part of the filter language")
        result: _Value = handler(node)
        return result

    def _read_boolop(self, node: ast.BoolOp) -> _Value:
        parts = [self._truth(self._value(part), part) for part in node.values]
        joined = parts[0]
        for part in parts[1:]:
            joined = joined & part if isinstance(node.op, ast.And) else joined | part
        return _Value(joined, "truth")

    def _read_unaryop(self, node: ast.UnaryOp) -> _Value:
        if isinstance(node.op, ast.Not):
            return _Value(~self._truth(self._value(node.operand), node.operand), "truth")
        inner = self._value(node.operand)
        if isinstance(node.op, ast.USub) and inner.kind == "number" and inner.constant is not None:
            return self._number(-inner.constant, node)
        if isinstance(node.op, ast.Invert):
            raise self._error(node, "`~` is not part of the filter language; write `not`")
        raise self._error(node, "a sign goes before a number only")

    def _read_compare(self, node: ast.Compare) -> _Value:
        operands = [node.left, *node.comparators]
        joined = None
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            part = self._one_comparison(left, operator, right)
            joined = part if joined is None else joined & part
        return _Value(joined, "truth")

    def _one_comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self._membership(left, right, wanted=isinstance(operator, ast.In))
        if type(operator) not in _COMPARE:
            raise self._error(left, "`is` is not part of the filter language; write is_null(column) or ==")
        one, other = self._value(left), self._value(right)
        self._same_kind(one, other, right)
        return getattr(pc, _COMPARE[type(operator)])(_beside(one, other), _beside(other, one))

    def _membership(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Any:
        if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
            raise self._error(right, 'after `in` comes a list, e.g. ["CC0", "CC-BY"]')
        value = self._value(left)
        choices = [self._value(element) for element in right.elts]
        for choice, element in zip(choices, right.elts, strict=True):
            if choice.constant is None:
                raise self._error(element, "a list holds only numbers or strings")
            self._same_kind(value, choice, element)
        constants = pa.array([choice.constant for choice in choices])
        found = value.expression.isin(constants.cast(pa.float32()) if value.single else constants)
        # isin() calls null "not in": SQL, and the other comparisons here, call it unknown.
        return found if wanted else ~found & value.expression.is_valid()

    def _read_name(self, node: ast.Name) -> _Value:
        if node.id in DERIVED and DERIVED[node.id][1] in self.kinds:
            expression, stored, kind = DERIVED[node.id]
            self.used.add(stored)
            return _Value(expression, kind)
        kind = self.kinds.get(node.id, "")
        if not kind:
            raise self._error(node, f"unknown column {node.id!r}; known: {', '.join(self._known())}")
        if kind == "other":
            raise self._error(node, f"column {node.id!r} holds neither numbers, text nor truth values")
        self.used.add(node.id)
        stored_type = self.schema.field(node.id).type
        column = pc.field(node.id)
        if pa.types.is_dictionary(stored_type):
            column = column.cast(stored_type.value_type)
        return _Value(column, kind, single=pa.types.is_float32(stored_type))

    def _read_constant(self, node: ast.Constant) -> _Value:
        if isinstance(node.value, bool):
            return _Value(pc.scalar(node.value), "truth", node.value)
        if isinstance(node.value, (int, float)):
            return self._number(node.value, node)
        if isinstance(node.value, str):
            return _Value(pc.scalar(node.value), "text", node.value)
        if node.value is None:
            raise self._error(node, "None has no place here; write is_null(column)")
        raise self._error(node, _what(node) + " is not part of the filter language")

    def _read_call(self, node: ast.Call) -> _Value:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _ARGUMENTS or node.keywords:
            raise self._error(node, f"unknown function; there are {', '.join(FUNCTIONS)}")
        wanted = _ARGUMENTS[name]
        if len(node.args) != wanted:
            values = "1 value" if wanted == 1 else f"{wanted} values"
            raise self._error(node, f"{name} takes {values}: {', '.join(FUNCTIONS)}")
        first = self._value(node.args[0])
        if name == "is_null":
            return _Value(first.expression.is_null(), "truth")
        if name == "coalesce":
            return self._coalesce(first, node.args[1])
        if first.kind != "text":
            raise self._error(node.args[0], f"{name} works on text")
        if name == "lower":
            lowered = first.constant.lower() if first.constant is not None else None
            return _Value(pc.utf8_lower(first.expression), "text", lowered)
        word = self._value(node.args[1])
        if word.kind != "text" or word.constant is None:
            raise self._error(node.args[1], 'contains looks for a quoted word: contains(caption, "rain")')
        return _Value(pc.match_substring(first.expression, word.constant), "truth")

    def _coalesce(self, column: _Value, node: ast.expr) -> _Value:
        value = self._value(node)
        if value.constant is None:
            raise self._error(node, "coalesce takes a number, a text or a truth value for null: coalesce(column, 0)")
        self._same_kind(column, value, node)
        return _Value(pc.coalesce(column.expression, _beside(value, column)), column.kind, single=column.single)

    def _read_binop(self, node: ast.BinOp) -> _Value:
        hint = _HINTS.get(type(node.op), "only comparisons, and, or, not, in and functions are")
        raise self._error(node, f"this operator is not part of the filter language; {hint}")

    # Checks.

    def _number(self, number: float, node: ast.expr) -> _Value:
        if isinstance(number, int) and not -(2**63) <= number < 2**63:
            raise self._error(node, "the number is too large")
        return _Value(pc.scalar(number), "number", number)

    def _truth(self, value: _Value, node: ast.expr) -> Any:
        if value.kind != "truth":
            raise self._error(node, f"a condition is needed here, not a {value.kind}")
        return value.expression

    def _same_kind(self, one: _Value, other: _Value, node: ast.expr) -> None:
        if one.kind != other.kind:
            raise self._error(node, f"a {one.kind} is compared with a {other.kind}")

    def _known(self) -> list[str]:
        derived = (name for name, (_, stored, _) in DERIVED.items() if stored in self.kinds)
        return sorted([*self.kinds, *derived])

    def _error(self, node: ast.expr, problem: str) -> ExpressionError:
        # ast counts bytes of UTF-8; people count characters.
        stripped = self.text.strip()
        column = len(stripped.encode()[: node.col_offset].decode(errors="ignore")) + 1
        return ExpressionError(self._say(column, problem))

    def _say(self, column: int, problem: str) -> str:
        return f"filter, at character {column} of {self.text.strip()!r}: {problem}"


def _beside(value: _Value, other: _Value) -> Any:
    """`value` as it is compared with `other`."""
    if value.kind == "number" and value.constant is not None and other.single:
        return value.expression.cast(pa.float32())
    return value.expression


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    if pa.types.is_boolean(type_):
        return "truth"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return "text"
    return "other"


def _what(node: ast.AST) -> str:
    names = {"Attribute": "a dot", "Subscript": "an index", "Lambda": "a lambda", "JoinedStr": "an f-string"}
    return names.get(type(node).__name__, f"a {type(node).__name__}")


def _syntax_hint(text: str, error: SyntaxError) -> str:
    at = (error.offset or 1) - 1
    if "=" in text[max(at - 2, 0) : at + 3] or "==" in (error.msg or ""):
        return "cannot be read; to compare write =="
    return f"cannot be read ({error.msg})"
