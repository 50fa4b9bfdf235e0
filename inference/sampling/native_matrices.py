"""C++ for small triangular systems and Cholesky factors, written out."""

from __future__ import annotations

from inference.sampling.native_source import NotNative, Source
from inference.sampling.recording import Step


def _linalg_solve_triangular(code: Source, step: Step) -> None:
    left, right = step.args[:2]
    a, b = code.recording.values[left.at], code.recording.values[right.at]
    if step.kwargs.get("left", True) is not True or step.kwargs.get("unitriangular", False) or a.dim() != b.dim():
        raise NotNative("linalg_solve_triangular from the right")
    size, out, upper = a.shape[-1], step.outs[0], step.kwargs["upper"]
    places = reversed(range(size)) if upper else range(size)

    def body(index: list[str]) -> str:
        batch, column, lines = index[:-2], index[-1], []
        for i in places:
            known = range(i + 1, size) if upper else range(i)
            terms = [
                f" - {code.number(left, [*batch, str(i), str(k)])} * {code.read(out, [*batch, str(k), column])}"
                for k in known
            ]
            whole = f"{code.number(right, [*batch, str(i), column])}{''.join(terms)}"
            place = [*batch, str(i), str(i)]
            lines.append(f"{code.read(out, [*batch, str(i), column])} = ({whole}) / {code.number(left, place)};")
        return " ".join(lines)

    if size > 32:
        raise NotNative("a large triangular system")
    code.lines.append(code.loop([*a.shape[:-2], 1, b.shape[-1]], body))


def _linalg_cholesky_ex(code: Source, step: Step) -> None:
    """The lower factor; instead of a code that says where it fails, the density is nan there by its root."""
    source, out = step.args[0], step.outs[0]
    value = code.recording.values[source.at]
    size = value.shape[-1]
    if step.kwargs.get("upper", False) or size > 32:
        raise NotNative("a large decomposition")

    def body(index: list[str]) -> str:
        batch, lines = index[:-2], []
        for j in range(size):
            for i in range(size):
                entry = code.read(out, [*batch, str(i), str(j)])
                if i < j:
                    lines.append(f"{entry} = zero;")
                    continue
                terms = "".join(
                    f" - {code.read(out, [*batch, str(i), str(k)])} * {code.read(out, [*batch, str(j), str(k)])}"
                    for k in range(j)
                )
                whole = f"{code.number(source, [*batch, str(i), str(j)])}{terms}"
                root = code.read(out, [*batch, str(j), str(j)])
                lines.append(f"{entry} = f_sqrt({whole});" if i == j else f"{entry} = ({whole}) / {root};")
        return " ".join(lines)

    code.lines.append(code.loop([*value.shape[:-2], 1, 1], body))


RULES = {"linalg_solve_triangular": _linalg_solve_triangular, "linalg_cholesky_ex": _linalg_cholesky_ex}
