"""The product of matrices that `winograd` is made of, in the vector registers of this processor."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "PANEL", "ROWS", "multiply"]

_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") and _FEATURES.get("fma") else 4
"""Numbers in a register."""
ROWS = 6 if LANES == 8 else 8
"""Tiles that are multiplied together: their sums, two registers each, must all find room in the processor."""
PANEL = 2 * LANES
"""Output channels that are multiplied together."""


@intrinsic
def multiply(
    typing_context: Any,
    a: Any,
    a_start: Any,
    a_step: Any,
    b: Any,
    b_start: Any,
    depth: Any,
    out: Any,
    out_start: Any,
    out_step: Any,
) -> Any:
    """Multiply ROWS rows of `a` by a panel of `b`, (depth, PANEL), keeping all sums in registers.

    Written as machine instructions on vectors, which the compiler of plain loops does not find by itself: sixteen
    sums that stay in registers are what makes it as fast as the processor can multiply. `depth` is even.
    """
    array = types.Array(types.float32, 1, "C")
    n = types.int64
    signature = types.void(array, n, n, array, n, n, array, n, n)
    return signature, _code


def _code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    a, a_start, a_step, b, b_start, depth, out, out_start, out_step = arguments
    word, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    undefined, zero = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * LANES)
    declared: Any = cgutils.get_or_insert_function
    fma = declared(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32")

    def number(value: int) -> ir.Constant:
        return ir.Constant(word, value)

    def data(array: Any, place: Any) -> Any:
        return context.make_array(signature.args[place])(context, builder, array).data

    def at(pointer: Any, index: Any) -> Any:
        return builder.gep(pointer, [index], inbounds=True)

    def vectors(pointer: Any) -> Any:
        return builder.bitcast(pointer, vector.as_pointer())

    rows = [at(data(a, 0), builder.add(a_start, builder.mul(a_step, number(r)))) for r in range(ROWS)]
    panel = at(data(b, 3), b_start)
    before = builder.block
    loop, after = (builder.function.append_basic_block(name) for name in ("channels", "done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    channel = builder.phi(word)
    channel.add_incoming(number(0), before)
    sums = [[builder.phi(vector) for _ in range(2)] for _ in range(ROWS)]
    for phi in (phi for row in sums for phi in row):
        phi.add_incoming(zero, before)
    now = [list(row) for row in sums]
    for step in range(2):
        here = builder.add(channel, number(step))
        first = builder.mul(here, number(PANEL))
        factors = [
            builder.load(vectors(at(panel, builder.add(first, number(half * LANES)))), align=4) for half in range(2)
        ]
        for r in range(ROWS):
            value = builder.insert_element(undefined, builder.load(at(rows[r], here)), ir.Constant(ir.IntType(32), 0))
            value = builder.shuffle_vector(value, undefined, lanes)
            now[r] = [
                builder.call(fma, [value, factor, so_far]) for factor, so_far in zip(factors, now[r], strict=True)
            ]
    following = builder.add(channel, number(2))
    channel.add_incoming(following, loop)
    for phis, values in zip(sums, now, strict=True):
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    builder.position_at_end(after)
    for r in range(ROWS):
        start = builder.add(out_start, builder.mul(out_step, number(r)))
        for half in range(2):
            place = at(data(out, 6), builder.add(start, number(half * LANES)))
            builder.store(now[r][half], vectors(place), align=4)
    return context.get_dummy_value()
