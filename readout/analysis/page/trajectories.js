// Distance against optimisation step, for the chosen layer.

function drawTrajectories() {
  const layer = data.layers.indexOf(state.layer);
  $("trajectory-charts")?.replaceChildren();
  for (const series of data.series.filter((one) => one.layer === layer && one.trajectories.length)) {
    const title = `${state.layer}${several ? `, ${data.folders[series.folder].name}` : ""}`;
    const holder = make("div", {}, make("b", {}, title));
    $("trajectory-charts").append(holder);
    const svg = draw(holder, "svg", { role: "img", "aria-label": `${data.symbol} against optimisation step at ${title}` });
    const known = (one) => one.distance.map((value, place) => [one.steps[place], value]).filter(([, value]) => present(value));
    const points = series.trajectories.flatMap(known);
    const xTop = Math.max(1, ...points.map(([step]) => step));
    const yTop = Math.max(0.2, ...points.map(([, value]) => value));
    const { x, y, plot } = frame(svg, { width: 520, height: 300, right: 84, xTop, yTop, xLabel: "optimisation step", yLabel: data.symbol });
    const t = data.folders[series.folder].threshold;
    draw(plot, "path", { class: "guide", "stroke-dasharray": "6 4", d: line([[x(0), y(t)], [x(xTop), y(t)]]) });
    draw(plot, "text", { x: 446, y: 22 }, "level");
    series.trajectories.forEach((one, place) => {
      const share = (100 * place) / Math.max(1, series.trajectories.length - 1);
      const color = `color-mix(in oklab, var(--high) ${share}%, var(--low))`;
      const group = draw(plot, "g", { class: "series", style: `--color: ${color}` });
      draw(group, "path", { class: "line", d: line(known(one).map(([step, value]) => [x(step), y(value)])) });
      draw(group, "path", { class: "line", d: `M446,${38 + 18 * place}h18` });
      draw(group, "text", { x: 470, y: 42 + 18 * place }, number(one.level));
    });
  }
}
