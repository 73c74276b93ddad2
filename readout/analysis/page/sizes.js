// Sizes by layer: inputs as dots, medians as bars (dashed: by the other estimator), means as diamonds.

function drawSizes() {
  const svg = $("sizes-chart");
  const turned = data.layers.length * Math.max(...data.layers.map((layer) => layer.length)) > 110;
  const [width, left] = [1080, 52];
  const height = turned ? 390 : 340;
  const top = Math.max(1, ...data.series.flatMap((series) => series.sizes.map((size) => size[1])));
  const { y, plot } = frame(svg, { width, height, left, bottom: turned ? 84 : 36, xTop: 1, yTop: top, xTicks: [], xLabel: "", yLabel: "representation size, d_H" });
  const slot = (width - left - 20) / data.layers.length;
  const at = data.layers.map((_, place) => data.series.filter((series) => series.layer === place));
  const lane = Math.min(150, (slot * 0.84) / Math.max(...at.map((beside) => beside.length)));
  data.layers.forEach((layer, place) => {
    const x = left + 8 + slot * (place + 0.5);
    const spot = turned ? { transform: `translate(${x},${height - 68}) rotate(-40)`, "text-anchor": "end" } : { x, y: height - 14, "text-anchor": "middle" };
    draw(svg, "text", spot, layer);
  });
  data.series.forEach((series, place) => {
    if (!series.sizes.length) return;
    const beside = at[series.layer];
    const centre = left + 8 + slot * (series.layer + 0.5) + (beside.indexOf(series) - (beside.length - 1) / 2) * lane;
    const group = draw(plot, "g", { class: "series", "data-series": place, style: `--color: var(--layer-${series.layer})` });
    series.sizes.forEach(([sample, size, bound, flags, other], order) => {
      const spread = series.sizes.length > 1 ? order / (series.sizes.length - 1) - 0.5 : 0;
      const spot = [centre - lane * 0.06 + spread * lane * 0.6, y(size)];
      const dot = draw(group, "path", { class: `dot${bound ? " open" : ""}`, d: mark(series.folder, ...spot, 4) });
      const title = `${data.samples[sample]} at ${data.layers[series.layer]}${several ? ` (${data.folders[series.folder].name})` : ""}`;
      const pairs = [["size", `${bound ? "at least " : ""}${number(size)}`], [`by ${series.estimator}`, number(other)], ...(flags ? [["flags", flags.replaceAll("_", " ").replaceAll(";", ", ")]] : [])];
      dot.addEventListener("pointerenter", () => tell(title, pairs, ...onScreen(svg, spot)));
      dot.addEventListener("pointerleave", hush);
    });
    draw(group, "path", { class: "line", d: `M${centre - lane * 0.42},${y(series.median)}H${centre + lane * 0.42}` });
    draw(group, "path", { class: "line", "stroke-dasharray": "3 3", d: `M${centre - lane * 0.42},${y(series.beside)}H${centre + lane * 0.42}` });
    const [mean, low, high] = series.mean;
    const side = centre + lane * 0.36;
    if (present(low)) draw(group, "path", { class: "line", d: `M${side},${y(low)}V${y(high)}` });
    const diamond = draw(group, "path", { class: "mean", d: mark(3, side, y(mean), 5) });
    const pairs = [["mean", number(mean)], ["95 % interval", `${number(low)} to ${number(high)}`], ["median", number(series.median)], [`median by ${series.estimator}`, number(series.beside)], ["inputs", series.count]];
    diamond.addEventListener("pointerenter", () => tell(data.layers[series.layer], pairs, ...onScreen(svg, [side, y(mean)])));
    diamond.addEventListener("pointerleave", hush);
  });
}
