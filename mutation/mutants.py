"""The mutants of one module: `python mutants.py domain/totp.py`, as one JSON list. Runs in the environment of its own, where mutmut is.

The operators are mutmut's, and four of ours for what guards consist of. mutmut's own run leaves out decorated functions and
whatever stands outside functions, such as statements that are built once; here both are mutated, so the runner is ours too.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import libcst as cst
from libcst import matchers
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.pragma_handling import IgnoredCode

AROUND = 30  # Letters on either side of a change.


class Visitor(file_mutation.MutationVisitor):
    """mutmut's, but it enters decorated functions as well."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        if isinstance(node, cst.Import | cst.ImportFrom | cst.ClassDef) or _is_type(node):
            return True
        return super()._skip_node_and_children(node)


def _is_type(node: cst.CSTNode) -> bool:
    """Whether it is for the type checker alone: a name for a type, or a cast."""
    alias = matchers.Assign(value=matchers.Subscript(value=matchers.Name("Literal")))
    return matchers.matches(node, alias | matchers.Call(func=matchers.Name("cast")))


def one_string(node: cst.BaseString) -> Iterator[cst.CSTNode]:
    """One other string is enough."""
    yield from list(mutators.operator_string(node))[:1]


def arguments(node: cst.Call) -> Iterator[cst.CSTNode]:
    """None for what has a name; without a condition of a statement, or what has a name and so a default. None for any other
    argument or variable says nothing: whatever reaches the line fails.
    """
    for at, arg in enumerate(node.args):
        before, after = node.args[:at], node.args[at + 1 :]
        if arg.keyword and not matchers.matches(arg.value, matchers.Name("None")):
            yield node.with_changes(args=[*before, arg.with_changes(value=cst.Name("None")), *after])
        statement = isinstance(node.func, cst.Attribute) and node.func.attr.value in {"where", "ordered_values"}
        if len(node.args) > 1 and (arg.keyword or arg.star or statement):
            yield node.with_changes(args=[*before, *after])


def forced(node: cst.If) -> Iterator[cst.CSTNode]:
    """A condition that is always met, or never."""
    yield node.with_changes(test=cst.Name("True"))
    yield node.with_changes(test=cst.Name("False"))


def one_side(node: cst.BooleanOperation) -> Iterator[cst.CSTNode]:
    """Half a condition."""
    yield node.left
    yield node.right


def left_out(node: cst.SimpleStatementLine) -> Iterator[cst.CSTNode]:
    """A call, a refusal or a change that does not happen."""
    first = node.body[0]
    if isinstance(first, cst.Raise | cst.AugAssign) or (isinstance(first, cst.Expr) and isinstance(first.value, cst.Call)):
        yield node.with_changes(body=[cst.Pass()])


def fewer(node: cst.Tuple) -> Iterator[cst.CSTNode]:
    """One condition of several less, as `alive = (…)` keeps them for a statement."""
    if len(node.elements) > 1:
        for at in range(len(node.elements)):
            left = [*node.elements[:at], *node.elements[at + 1 :]]
            yield node.with_changes(elements=[one.with_changes(comma=cst.Comma()) for one in left])


def nothing(_: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """An operator that is left out."""
    yield from ()


REPLACED = {mutators.operator_string: one_string, mutators.operator_arg_removal: arguments, mutators.operator_assignment: nothing}
OURS = [
    (cst.If, forced),
    (cst.BooleanOperation, one_side),
    (cst.SimpleStatementLine, left_out),
    (cst.Tuple, fewer),
]
OPERATORS = [(kind, REPLACED.get(operator, operator)) for kind, operator in mutators.mutation_operators] + OURS


def mutants(path: str) -> list[dict[str, object]]:
    """Every mutant of a module: where, what was changed into what, and the whole source."""
    wrapper = MetadataWrapper(cst.parse_module(Path(path).read_text()))
    visitor = Visitor(OPERATORS, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    positions, module = wrapper.resolve(PositionProvider), wrapper.module
    parts = [module.code_for_node(one) for one in (*module.header, *module.body, *module.footer)]
    homes = {node: (number, trail) for number, top in enumerate(module.body) for node, trail in _walk(top, (top,))}
    found, seen = [], {"".join(parts)}
    for mutation in visitor.mutations:
        node = mutation.original_node
        if node not in homes or _is_speech(homes[node][1], node):
            continue
        number, trail = homes[node]
        mutated = file_mutation.deep_replace(module.body[number], node, mutation.mutated_node)
        at = len(module.header) + number
        after = module.code_for_node(mutated)
        source = "".join([*parts[:at], after, *parts[at + 1 :]])
        if source in seen:
            continue
        seen.add(source)
        first, last = _span(trail, positions, len(parts))
        names = [one.name.value for one in trail if isinstance(one, cst.FunctionDef)]
        found.append(
            {
                "function": names[0] if names else "",
                "line": positions[node].start.line,
                "span": [first, last],
                "change": _change(" ".join(parts[at].split()), " ".join(after.split())),
                "source": source,
            }
        )
    return found


def _walk(node: cst.CSTNode, trail: Sequence[cst.CSTNode]) -> Iterator[tuple[cst.CSTNode, Sequence[cst.CSTNode]]]:
    yield node, trail
    for child in node.children:
        yield from _walk(child, (*trail, child))


def _span(trail: Sequence[cst.CSTNode], positions: dict, lines: int) -> tuple[int, int]:
    """The lines of the smallest statement around; (0, 0) outside of functions. A head is what stands before its block."""
    if not any(isinstance(one, cst.IndentedBlock) for one in trail):
        if isinstance(trail[0], cst.FunctionDef):
            return positions[trail[0]].start.line, positions[trail[0]].end.line
        return 0, 0
    inner = [one for one in trail if isinstance(one, cst.SimpleStatementLine | cst.BaseCompoundStatement)][-1]
    if isinstance(inner, cst.SimpleStatementLine):
        return positions[inner].start.line, positions[inner].end.line
    return positions[inner].start.line, positions[inner.body].start.line


def _is_speech(trail: Sequence[cst.CSTNode], node: cst.CSTNode) -> bool:
    """Whether it is inside the arguments of a call that only tells people; whether they are told at all is tested."""
    calls = [one for one in trail[:-1] if isinstance(one, cst.Call) and isinstance(one.func, cst.Attribute)]
    return any(isinstance(one.func.value, cst.Name) and one.func.value.value == "logger" for one in calls)


def _change(before: str, after: str) -> str:
    """What is another, in a few words around it."""
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    first, around = max(0, start - AROUND), slice(max(0, start - AROUND), None)
    cut = [one[around][: max(len(one) - end + AROUND - first, 0)].strip() for one in (before, after)]
    return " -> ".join(one or "nothing" for one in cut)


def _same(one: str, other: str) -> int:
    """How many letters two texts have in common at their beginning."""
    return next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other)))


if __name__ == "__main__":
    json.dump(mutants(sys.argv[1]), sys.stdout)
