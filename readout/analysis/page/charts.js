// SVG charts: axes, marks and lines, independent of the data's meaning.

const SVG = "http://www.w3.org/2000/svg";

/** Append a new SVG element to another. */
function draw(parent, tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

/** Return a linear map of [from, to] onto [low, high]. */
const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);

/** Return round numbers that divide [0, top] into a few intervals. */
function ticks(top) {
  const rough = top / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, place) => Number((place * step).toPrecision(6)));
}

/** Clear the chart and draw its frame; return both scales and a group to draw in. */
function frame(svg, { width, height, left = 52, bottom = 44, right = 12, top = 12, xTop, yTop, xLabel, yLabel, xTicks = null }) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = scale(0, xTop, left + 8, width - right);
  const y = scale(0, yTop, height - bottom - 8, top);
  for (const value of ticks(yTop)) {
    draw(svg, "line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) });
    draw(svg, "text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value);
  }
  for (const value of xTicks ?? ticks(xTop)) {
    draw(svg, "line", { class: "gridline", x1: x(value), x2: x(value), y1: top, y2: height - bottom });
    draw(svg, "text", { x: x(value), y: height - bottom + 16, "text-anchor": "middle" }, value);
  }
  draw(svg, "path", { class: "axis", fill: "none", d: `M${left},${top}V${height - bottom}H${width - right}` });
  draw(svg, "text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xLabel);
  draw(svg, "text", { transform: `translate(14,${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel);
  return { x, y, plot: draw(svg, "g") };
}

const DASHES = ["none", "7 4", "2 4", "10 3 2 3"];

/** Return the outline of a mark: one shape per folder. */
function mark(shape, x, y, r) {
  const at = (dx, dy) => `${(x + dx * r).toFixed(1)},${(y + dy * r).toFixed(1)}`;
  return [
    `M${at(-1, 0)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
    `M${at(-0.9, -0.9)}L${at(0.9, -0.9)}L${at(0.9, 0.9)}L${at(-0.9, 0.9)}Z`,
    `M${at(0, -1.2)}L${at(1.1, 0.8)}L${at(-1.1, 0.8)}Z`,
    `M${at(0, -1.3)}L${at(1.3, 0)}L${at(0, 1.3)}L${at(-1.3, 0)}Z`,
  ][shape % 4];
}

/** Return a path through points [x, y]. */
const line = (points) => points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
