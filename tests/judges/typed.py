"""Whether a JSON value is what a TypedDict of an SDK says, which no SDK checks by itself: required keys, unknown keys, the
type of every value. Kinds whose names are in `open_kinds` may have any keys."""

import collections.abc
import typing

import typing_extensions as te

HINTS = {}
LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)


def hints(kind):
    if kind not in HINTS:
        HINTS[kind] = te.get_type_hints(kind, include_extras=True)
    return HINTS[kind]


def check(kind, value, path, problems, open_kinds):
    """Whether a JSON value is what an annotation says; what is wrong goes into `problems`."""
    while te.get_origin(kind) in (te.Required, te.NotRequired, te.Annotated):
        kind = te.get_args(kind)[0]
    if isinstance(kind, te.TypeAliasType):
        return check(kind.__value__, value, path, problems, open_kinds)
    if kind in (object, typing.Any):
        return
    if kind is None or kind is type(None):
        if value is not None:
            problems.append(f"{path}: not null")
        return
    origin, args = te.get_origin(kind), te.get_args(kind)
    if te.is_typeddict(kind):
        return structure(kind, value, path, problems, open_kinds)
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool) != any(isinstance(a, bool) for a in args):
            problems.append(f"{path}: {value!r} is none of {args}")
    elif origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        one_of(args, value, path, problems, open_kinds)
    elif origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
            return
        for key, inner in value.items():
            check(args[1], inner, f"{path}.{key}", problems, open_kinds)
    elif origin in LISTS or "Sequence" in getattr(origin, "__name__", ""):
        if not isinstance(value, list):
            problems.append(f"{path}: not a list")
            return
        for at, inner in enumerate(value):
            check(args[0], inner, f"{path}.{at}", problems, open_kinds)
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{path}: not a number")
    elif kind in (int, str, bool):
        if not isinstance(value, kind) or kind is int and isinstance(value, bool):
            problems.append(f"{path}: not {kind.__name__}")
    elif isinstance(kind, type) and issubclass(kind, dict):
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
    elif isinstance(kind, type) and (hasattr(kind, "model_fields") or "IO" in kind.__name__ or "Path" in kind.__name__):
        # What only Python callers can give.
        problems.append(f"{path}: not {kind.__name__}")
    elif kind is dict:
        if not isinstance(value, dict):
            problems.append(f"{path}: not an object")
    else:
        problems.append(f"{path}: an annotation that the judge does not know: {kind!r}")


def one_of(kinds, value, path, problems, open_kinds):
    best = None
    for kind in kinds:
        found = []
        check(kind, value, path, found, open_kinds)
        if not found:
            return
        # The alternative that names the value's own `type` tells most.
        named = te.is_typeddict(kind) and isinstance(value, dict) and "type" in hints(kind)
        if named:
            wrong = []
            check(hints(kind)["type"], value.get("type"), "", wrong, open_kinds)
            named = not wrong
        if best is None or named:
            best = found
    problems.extend(best or [f"{path}: nothing fits"])


def structure(kind, value, path, problems, open_kinds):
    if not isinstance(value, dict):
        problems.append(f"{path}: not an object")
        return
    known = hints(kind)
    for key in kind.__required_keys__:
        if key not in value:
            problems.append(f"{path}.{key}: Field required".lstrip("."))
    for key, inner in value.items():
        if key in known:
            check(known[key], inner, f"{path}.{key}".lstrip("."), problems, open_kinds)
        elif getattr(kind, "__extra_items__", None) in (None, te.NoExtraItems) and kind.__name__ not in open_kinds:
            problems.append(f"{path}.{key}: Extra inputs are not permitted".lstrip("."))
