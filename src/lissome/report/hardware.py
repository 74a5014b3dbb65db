"""A page of HTML about an estimate: bars of time and energy layer by layer, and the roofline with every layer on it.

One file that needs no network and no script: charts are SVG, figures appear under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Final, TypeAlias

from lissome.hardware.estimate import Estimate, LayerEstimate
from lissome.hardware.roofline import Roofline
from lissome.hardware.workload import Workload

_Axis: TypeAlias = Callable[[float], float]
COLOURS: Final = ("#3b6ea5", "#c8553d", "#588157", "#8e6c8a", "#d9a441", "#4f9d9d", "#7f7f7f", "#b5739d")
_WIDTH: Final = 960
_STYLE: Final = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1000px;color:#222}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:2px 10px;text-align:right}"
    "td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}"
    "tr:nth-child(even){background:#f4f4f4}svg text{font:11px system-ui,sans-serif;fill:#333}"
    ".key{display:inline-block;width:10px;height:10px;margin:0 4px 0 12px}"
)


def page(estimate: Estimate, workload: Workload, roofs: Sequence[Roofline] = ()) -> str:
    """The estimate as one HTML document. roofs: machines whose rooflines are drawn, with the layers on each."""
    title = f"{workload.title} on {estimate.machine}, batch {estimate.batch}"
    seconds = {layer.name: {"time": 1e6 * layer.seconds} for layer in estimate.layers if layer.seconds}
    energy = {layer.name: _energy(layer) for layer in estimate.layers if layer.energy_pj}
    parts = [f"<h1>{escape(title)}</h1>", _summary(estimate)]
    if seconds:
        parts += ["<h2>Time, µs</h2>", bars(seconds)]
    if energy:
        parts += ["<h2>Energy, µJ</h2>", bars(energy)]
    if roofs:
        parts += ["<h2>Roofline</h2>", roofline(roofs, layer_points(roofs, workload))]
    parts += ["<h2>Layers</h2>", _table(estimate.layers)]
    if estimate.left_out:
        reasons = [f"{o.name} ({o.op}, {o.macs + o.operations:,} operations): {o.why}" for o in estimate.left_out]
        parts.append("<h2>Left out</h2><ul>" + "".join(f"<li>{escape(why)}</li>" for why in reasons) + "</ul>")
    return _document(title, parts)


def roofline_page(title: str, roofs: Sequence[Roofline], workloads: Sequence[Workload]) -> str:
    """The rooflines as one HTML document, a point for each network on each."""
    points = [(r, w.title, r.network_intensity(w)) for r in roofs for w in workloads if r.network_bytes(w)]
    return _document(title, [f"<h1>{escape(title)}</h1>", roofline(roofs, points)])


def layer_points(roofs: Iterable[Roofline], workload: Workload) -> list[tuple[Roofline, str, float]]:
    """Each layer with a product and the whole network on each machine: its name and multiply-adds a byte."""
    points = []
    for roof in roofs:
        points += [(roof, layer.name, roof.intensity(layer)) for layer in workload.layers if layer.macs]
        if workload.macs:
            points.append((roof, workload.title, roof.network_intensity(workload)))
    return points


def bars(values: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars, one a name, each of its parts stacked; as SVG, with a key where there are several parts."""
    parts = list(dict.fromkeys(part for each in values.values() for part in each))
    colour = {part: COLOURS[index % len(COLOURS)] for index, part in enumerate(parts)}
    longest = max(sum(each.values()) for each in values.values()) or 1.0
    left, step, lines = 200, 18, []
    for index, (name, each) in enumerate(values.items()):
        top, at = index * step, float(left)
        lines.append(f'<text x="{left - 6}" y="{top + 12}" text-anchor="end">{escape(name[-30:])}</text>')
        for part, value in each.items():
            wide = (_WIDTH - left - 80) * value / longest
            tip = escape(f"{name}: {part} {value:,.4g}")
            lines.append(
                f'<rect x="{at:.1f}" y="{top + 2}" width="{wide:.2f}" height="{step - 4}" fill="{colour[part]}">'
                f"<title>{tip}</title></rect>"
            )
            at += wide
        lines.append(f'<text x="{at + 4:.1f}" y="{top + 12}">{sum(each.values()):,.3g}</text>')
    key = "".join(f'<span class="key" style="background:{colour[p]}"></span>{escape(p)}' for p in parts)
    chart = f'<svg width="{_WIDTH}" height="{len(values) * step + 4}" role="img">{"".join(lines)}</svg>'
    return chart if len(parts) == 1 else f"<p>{key}</p>{chart}"


def roofline(roofs: Sequence[Roofline], points: Sequence[tuple[Roofline, str, float]]) -> str:
    """Attainable operations a second over multiply-adds a byte, both logarithmic, with points on the roofs; as SVG."""
    reached = [intensity for _, _, intensity in points]
    low = 10 ** math.floor(math.log10(min([0.1, *reached])))
    high = 10 ** math.ceil(math.log10(max([1e4, *reached])))
    top = 10 ** math.ceil(math.log10(max(roof.peak for roof in roofs)))
    bottom = 10 ** math.floor(math.log10(min(roof.attainable(low) for roof in roofs)))
    height, left, room = 460, 60, _WIDTH - 80

    def x(intensity: float) -> float:
        return left + room * math.log(intensity / low) / math.log(high / low)

    def y(operations: float) -> float:
        return 10 + (height - 50) * (1 - math.log(operations / bottom) / math.log(top / bottom))

    lines = [_grid(x, y, (low, high), (bottom, top))]
    for index, roof in enumerate(roofs):
        colour = COLOURS[index % len(COLOURS)]
        corners = [(low, roof.attainable(low)), (roof.ridge, roof.peak), (high, roof.attainable(high))]
        path = " ".join(f"{x(min(max(i, low), high)):.1f},{y(o):.1f}" for i, o in corners)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for owner, name, intensity in points:
            if owner is roof:
                tip = escape(f"{name} on {roof.name}: {intensity:,.4g} MAC/B, {roof.attainable(intensity):,.4g} op/s")
                place = f'cx="{x(intensity):.1f}" cy="{y(roof.attainable(intensity)):.1f}"'
                lines.append(f'<circle {place} r="4" fill="{colour}" fill-opacity="0.7"><title>{tip}</title></circle>')
    names = [escape(f"{r.name}: {r.peak / 1e12:,.4g} Top/s, {r.bandwidth / 1e9:,.4g} GB/s") for r in roofs]
    key = "".join(
        f'<span class="key" style="background:{COLOURS[i % len(COLOURS)]}"></span>{n}' for i, n in enumerate(names)
    )
    return f'<p>{key}</p><svg width="{_WIDTH}" height="{height}" role="img">{"".join(lines)}</svg>'


def _grid(x: _Axis, y: _Axis, wide: tuple[float, float], high: tuple[float, float]) -> str:
    lines = []
    for power in range(round(math.log10(wide[0])), round(math.log10(wide[1])) + 1):
        at = x(10.0**power)
        lines.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(high[1]):.1f}" y2="{y(high[0]):.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{at:.1f}" y="{y(high[0]) + 16:.1f}" text-anchor="middle">{10.0**power:g}</text>')
    for power in range(round(math.log10(high[0])), round(math.log10(high[1])) + 1):
        at = y(10.0**power)
        lines.append(f'<line x1="{x(wide[0]):.1f}" x2="{x(wide[1]):.1f}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(wide[0]) - 6:.1f}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:.0e}</text>')
    middle = (x(wide[0]) + x(wide[1])) / 2
    lines.append(f'<text x="{middle:.1f}" y="{y(high[0]) + 32:.1f}" text-anchor="middle">multiply-adds a byte</text>')
    return "".join(lines)


def _energy(layer: LayerEstimate) -> dict[str, float]:
    return {part: energy / 1e6 for part, energy in layer.energy_pj.items()}


def _summary(estimate: Estimate) -> str:
    facts = [f"{estimate.macs:,} multiply-adds"]
    if estimate.seconds:
        facts.append(f"{1e3 * estimate.seconds:,.4g} ms")
    if estimate.total_pj:
        facts.append(f"{estimate.total_pj / 1e9:,.4g} mJ")
    if estimate.left_out:
        facts.append(f"{len(estimate.left_out)} of {len(estimate.left_out) + len(estimate.layers)} layers left out")
    return f"<p>{', '.join(facts)}</p>"


def _table(layers: Sequence[LayerEstimate]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("layer", "operator", "MACs", "µs", "used", "µJ", "bound by"))
    rows = []
    for layer in layers:
        used = "" if layer.utilisation is None else f"{100 * layer.utilisation:.1f} %"
        joule = f"{sum(layer.energy_pj.values()) / 1e6:,.3f}" if layer.energy_pj else ""
        cells = (layer.name, layer.op, f"{layer.macs:,}", f"{1e6 * layer.seconds:,.2f}", used, joule, layer.bound_by)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _document(title: str, parts: Sequence[str]) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"
