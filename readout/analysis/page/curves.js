// Distance against d_H: one curve per (folder, layer), one dot per inversion, and a legend that toggles them.

let targets = [];

function drawCurves() {
  const svg = $("recovery-chart");
  const most = (name) => Math.max(1, ...problems.map((problem) => problem[name] ?? 0));
  const [xTop, yTop] = [most("feature_distance") * 1.01, most("distance") * 1.01];
  const { x, y, plot } = frame(svg, { width: 680, height: 460, xTop, yTop, xLabel: "perturbation of the feature, d_H", yLabel: `distance of the recovered ${data.symbol === "d_X" ? "input" : "signal"}, ${data.symbol}` });
  draw(plot, "path", { class: "guide", "stroke-dasharray": "1 4", d: line([[x(0), y(0)], [x(1), y(1)]]) });
  for (const t of new Set(data.folders.map((folder) => folder.threshold)))
    draw(plot, "path", { class: "guide", "stroke-dasharray": "6 4", d: line([[x(0), y(t)], [x(xTop), y(t)]]) });
  const groups = data.series.map((series, place) => draw(plot, "g", { class: "series", "data-series": place, style: `--color: var(--layer-${series.layer})` }));
  const seriesOf = new Map(data.series.map((series, place) => [`${series.folder}/${series.layer}`, place]));
  targets = [];
  problems.forEach((problem, index) => {
    const series = seriesOf.get(`${problem.folder}/${problem.layer}`);
    if (!present(problem.distance) || !present(problem.feature_distance)) return;
    const at = [x(problem.feature_distance), y(problem.distance)];
    const open = problem.verdict === "recovered" ? "" : " open";
    draw(groups[series], "path", { class: `dot${open}`, d: mark(problem.folder, ...at, 2.6) });
    targets.push({ at, series, index });
  });
  data.series.forEach((series, place) => {
    const points = series.curve.filter((point) => present(point[1]) && present(point[2]));
    const banded = points.filter((point) => present(point[3]));
    const outline = [...banded.map((p) => [x(p[1]), y(p[4])]), ...banded.toReversed().map((p) => [x(p[1]), y(p[3])])];
    if (outline.length > 2) draw(groups[place], "path", { class: "band", d: `${line(outline)}Z` });
    draw(groups[place], "path", { class: "line", "stroke-dasharray": DASHES[series.folder % 4], d: line(points.map((p) => [x(p[1]), y(p[2])])) });
    if (series.predicted.length)
      draw(groups[place], "path", { class: "line predicted", "stroke-dasharray": "2 3", d: line(series.predicted.map((p) => [x(p[0]), y(p[1])])) });
    for (const point of points) {
      const at = [x(point[1]), y(point[2])];
      draw(groups[place], "path", { class: "mean", d: mark(series.folder, ...at, 5) });
      targets.push({ at, series: place, point });
    }
  });
  draw(svg, "circle", { class: "ring", r: 8, visibility: "hidden" });
}

/** Show the numbers of a dot or mean. */
function tellTarget(target, x, y) {
  const { series, point, index } = target;
  if (present(index)) return tell(named(problems[index]), numbers(problems[index]), x, y, picturesOf(index));
  const { layer, folder } = data.series[series];
  const [level, moved, distance, low, high, samples] = point;
  const title = `mean at ${data.layers[layer]}, level ${number(level)}${several ? ` (${data.folders[folder].name})` : ""}`;
  const pairs = [[data.symbol, number(distance)], ["95 % interval", `${number(low)} to ${number(high)}`], ["d_H", number(moved)], ["inputs", samples]];
  $("said").textContent = `${title}: ${data.symbol} ${number(distance)}, d_H ${number(moved)}`;
  return tell(title, pairs, x, y);
}

function visible(target) {
  return present(target.point) ? !state.hidden.has(target.series) : state.dotted.has(target.series);
}

/** Return the window coordinates of a point of the chart. */
function onScreen(svg, [x, y]) {
  const point = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
  return [point.x, point.y];
}

function followCurves() {
  const svg = $("recovery-chart");
  let current = null;
  const point = (target) => {
    current = target;
    const ring = svg.querySelector(".ring");
    ring.setAttribute("visibility", target ? "visible" : "hidden");
    if (!target) return hush();
    ring.setAttribute("cx", target.at[0]);
    ring.setAttribute("cy", target.at[1]);
    return tellTarget(target, ...onScreen(svg, target.at));
  };
  const nearest = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let found = null;
    let least = 18;
    for (const target of targets.filter(visible)) {
      // prefer a mean to the dots around it
      const away = Math.hypot(target.at[0] - at.x, target.at[1] - at.y) - (present(target.point) ? 4 : 0);
      if (away < least) [found, least] = [target, away];
    }
    return found;
  };
  const open = () => {
    if (!current) return;
    choose(data.layers[data.series[current.series].layer]);
    if (present(current.index)) reveal(current.index);
  };
  svg.addEventListener("pointermove", (event) => point(nearest(event)));
  svg.addEventListener("pointerleave", () => point(null));
  svg.addEventListener("blur", () => point(null));
  svg.addEventListener("click", (event) => { point(nearest(event)); open(); });
  svg.addEventListener("keydown", (event) => {
    const means = targets.filter((target) => present(target.point) && visible(target));
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") open();
    if (!step || !means.length) return;
    event.preventDefault();
    const place = means.indexOf(current);
    point(means[place < 0 ? 0 : (place + step + means.length) % means.length]);
  });
}

/** Fill the legend with check boxes: one row per layer, one column per folder. */
function drawLegend() {
  const head = make("tr", {}, make("th", { scope: "col" }, several ? "layer" : ""));
  if (several) data.folders.forEach((folder) => head.append(make("th", { scope: "col" }, folder.name)));
  const body = make("tbody");
  data.layers.forEach((layer, place) => {
    const name = make("button", { type: "button", title: "choose this layer" }, layer);
    name.addEventListener("click", () => choose(layer));
    const row = make("tr", {}, make("th", { scope: "row" }, name));
    data.folders.forEach((folder, column) => {
      const index = data.series.findIndex((series) => series.layer === place && series.folder === column);
      const cell = make("td");
      if (index >= 0) {
        const box = make("input", { type: "checkbox", "data-series": index, "aria-label": `${layer}${several ? `, ${folder.name}` : ""}` });
        box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](index); keep(); });
        const key = make("label", {}, box);
        const svg = draw(key, "svg", { viewBox: "0 0 44 14", "aria-hidden": "true", class: "series", style: `--color: var(--layer-${place})` });
        draw(svg, "path", { class: "line", "stroke-dasharray": DASHES[column % 4], d: "M2,7H42" });
        draw(svg, "path", { class: "mean", d: mark(column, 22, 7, 5) });
        cell.append(key);
      }
      row.append(cell);
    });
    body.append(row);
  });
  $("legend").append(make("thead", {}, head), body);
}
