"""How deep tuples are nested in a pickle, found out without building any of them.

A tuple that holds another twice, which holds a third twice, and so on takes few bytes, and its
hash, which a key of a dict needs, takes time that doubles with each level.
"""

import pickletools
from collections.abc import Iterator
from typing import IO

MOST = 16  # levels of tuples; those of tensors and sizes have three
_MARK = -1
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_DEEPENS = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
_PASSES = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD", "DUP"}  # may hold what they got


def check_nesting(stream: IO[bytes]) -> None:
    """Refuse the next pickle of a stream if its tuples are nested deep.

    Args:
        stream: at the pickle's first byte; afterwards behind its last.

    Raises:
        ValueError: for tuples nested in more than ``MOST`` levels, or for what is no pickle.
    """
    stack: list[int] = []  # the depth of each object there
    memo: dict[object, int] = {}
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name in _GET:
                stack.append(memo.get(argument, 0))
            elif opcode.name in _PUT:
                memo[argument] = stack[-1]
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif opcode.name == "MARK":
                stack.append(_MARK)
            else:
                inside = max(_taken(opcode, stack), default=0)
                depth = inside + 1 if opcode.name in _DEEPENS else inside
                kept = depth if opcode.name in _DEEPENS | _PASSES else 0
                if kept > MOST:
                    raise ValueError(f"tuples are nested in more than {MOST} levels")
                stack += [kept] * len(opcode.stack_after)
    except IndexError:
        raise ValueError("the pickle takes more from its stack than there is") from None


def _taken(opcode: pickletools.OpcodeInfo, stack: list[int]) -> Iterator[int]:
    """Take from the stack what an opcode does, and yield the depth of each."""
    before = list(opcode.stack_before)
    if pickletools.markobject in before:
        while (depth := stack.pop()) != _MARK:
            yield depth
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        yield stack.pop()
