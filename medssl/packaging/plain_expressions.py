"""Expressions of MONAI's configurations that only compute: literals, references and a few operators."""

import ast
from typing import Any

from monai.bundle.reference_resolver import ReferenceResolver

# Call something harmless, whatever the rest of the configuration holds.
_KNOWN_CALLS = frozenset({"$torch.device('cuda' if torch.cuda.is_available() else 'cpu')", "$@network_def.to(@device)"})
_REFERENCES = "__local_refs"
# Of a backbone.
_ATTRIBUTES = frozenset({"level_channels", "strides"})
_DTYPES = frozenset({"uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bfloat16", "bool"})
_LIBRARIES = frozenset({"np", "numpy", "torch"})
# Multiplication and powers are left out: a few characters of them fill the memory.
_OPERATORS = (ast.Add, ast.Sub, ast.Div, ast.FloorDiv, ast.unaryop, ast.boolop, ast.cmpop)
_NODES = (ast.Constant, ast.List, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp)
_ALLOWED = (*_OPERATORS, *_NODES, ast.Subscript, ast.Slice, ast.Attribute, ast.expr_context)
_LONGEST = 500


class _Anything(dict[str, Any]):
    def __contains__(self, key: object) -> bool:
        return True


def only_computes(expression: str) -> bool:
    """Tell whether an expression can be evaluated without running anyone's code.

    It may hold literals, lists, references, their items, the levels and strides of a backbone, number types of NumPy
    and torch, ``+``, ``-``, ``/``, ``//`` and comparisons. Judged is the text that MONAI would evaluate, with its
    references replaced as MONAI replaces them.

    Args:
        expression: text that starts with ``$``.

    Example:
        >>> only_computes("$@backbone_def.strides[-1]"), only_computes("$[@first] + @others")
        (True, True)
        >>> only_computes("$__import__('os').system('true')"), only_computes("$@network.__class__")
        (False, False)
    """
    if expression in _KNOWN_CALLS:
        return True
    if len(expression) > _LONGEST:
        return False
    try:
        text = ReferenceResolver.update_refs_pattern(expression, _Anything())
        return _computes(ast.parse(text.removeprefix("$"), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _computes(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return node.value.id == _REFERENCES and isinstance(node.slice, ast.Constant)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id in _LIBRARIES and node.attr in _DTYPES
    if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
        return False
    return isinstance(node, _ALLOWED) and all(map(_computes, ast.iter_child_nodes(node)))
