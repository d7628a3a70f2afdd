"""How every figure is drawn and saved: colours, type, and the clean-up of matplotlib's SVG.

Colours are drawn as stand-ins (hexadecimal values that nothing else uses) and become CSS variables
in the saved text, because matplotlib itself knows no variables.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE: Final = (
    "#0072b2", "#d55e00", "#009e73", "#a9509c", "#b07d00", "#3a9bd8", "#5f6b7a", "#8c564b",
)  # fmt: skip
"""Series colours on white, after Okabe and Ito, darkened where they were too faint for lines."""

INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#0102{index:02x}" for index in range(len(PALETTE)))
_STAND_INS: Final = {
    INK: "currentColor",
    MUTED: "var(--muted, #6b7280)",
    GRID: "var(--grid, #e3e6ea)",
    PAPER: "var(--card, #ffffff)",
    **{key: f"var(--series-{i + 1}, {PALETTE[i]})" for i, key in enumerate(SERIES)},
}
_FONT: Final = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"
_RC: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fitwell",
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "ytick.major.size": 0,
    "xtick.major.size": 4,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.handlelength": 1.3,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.2,
    "legend.columnspacing": 1.4,
    "lines.solid_capstyle": "round",
}

Size = tuple[int, int]


def to_svg(draw: Callable[[Axes], None], title: str, size: Size, description: str = "") -> str:
    """Draw on fresh axes and give the SVG.

    Args:
        draw: Draws on the axes it is given.
        title: What the figure shows, for those who cannot see it.
        size: Width and height.
        description: The numbers in it, for those who cannot see it.
    """
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        draw(figure.add_subplot())
        return _clean(_save(figure), title, size, description)


@contextmanager
def _style() -> Iterator[None]:
    """Draw with fitwell's settings, whatever the user's matplotlibrc says, and restore theirs."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has it
        matplotlib.rcdefaults()
        cast("dict[str, Any]", matplotlib.rcParams).update(_RC)
        yield


def _save(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return buffer.getvalue()


def _clean(svg: str, title: str, size: Size, description: str) -> str:
    """Turn matplotlib's file into a part of a page: no outer noise, own ids, CSS colours."""
    body = svg[svg.index("<defs>") : svg.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", _clean_tag, body)
    used = set(re.findall(r"(?:href=\"|url\()#([^\")]+)", body))
    prefix = "f" + sha256(f"{title}{body}".encode()).hexdigest()[:8]
    body = re.sub(r" id=\"([^\"]+)\"",
                  lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", body)  # fmt: skip
    body = re.sub(r"(href=\"|url\()#", rf"\1#{prefix}-", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    words = f"<desc>{html.escape(description)}</desc>" if description else ""
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        f' aria-label="{html.escape(title)}" stroke-linejoin="round"'
        f' font-family="{_FONT}"><title>{html.escape(title)}</title>{words}{body}</svg>'
    )


def _clean_tag(match: re.Match[str]) -> str:
    """Shorten one tag; the text between tags is left as it is."""
    tag = match[0].replace("xlink:href", "href")
    tag = re.sub(r" ?font-family: [^;\"]*;?", "", tag)
    tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", tag)
    tag = re.sub(r"(?<![\w#])-?\d+\.\d{3,}", _rounded, tag)
    tag = tag.replace("<image ", '<image image-rendering="pixelated" ')
    for stand_in, colour in _STAND_INS.items():
        tag = tag.replace(stand_in, colour)
    return tag


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
