// State of the page, kept in the address so that a link restores the sender's view.

function choose(layer) {
  state.layer = layer;
  keep();
}

/** Above these numbers, intervals and single inversions are shown for the chosen layer only. */
const MOST_BANDS = 6;
const MOST_DOTS = 1500;

/** Return the visible series to show in detail: all, or those of the chosen layer if there are more than `most` items. */
function detailed(count, most) {
  const on = data.series.map((_, place) => place).filter((place) => !state.hidden.has(place));
  const total = on.reduce((sum, place) => sum + count(data.series[place]), 0);
  return new Set(on.filter((place) => total <= most || data.layers[data.series[place].layer] === state.layer));
}

/** Save the state in the address and show it. */
function keep() {
  const kept = new URLSearchParams({ layer: state.layer });
  if (state.hidden.size) kept.set("hide", [...state.hidden].sort((a, b) => a - b).join(","));
  history.replaceState(null, "", `#${kept}`);
  show();
}

/** Read the state from the address, unless it is an anchor. */
function read() {
  if (!location.hash.includes("=")) return;
  const kept = new URLSearchParams(location.hash.slice(1));
  if (data.layers.includes(kept.get("layer"))) state.layer = kept.get("layer");
  state.hidden = new Set((kept.get("hide") ?? "").split(",").filter(Boolean).map(Number));
}

function show() {
  const layer = data.layers.indexOf(state.layer);
  document.querySelectorAll(".recoveries").forEach((section) => { section.hidden = section.dataset.layer !== state.layer; });
  document.querySelectorAll("[name=layer]").forEach((input) => { input.checked = input.value === state.layer; });
  document.querySelectorAll("g[data-series]").forEach((group) => {
    const place = Number(group.dataset.series);
    group.style.display = state.hidden.has(place) ? "none" : "";
    group.classList.toggle("chosen", data.series[place].layer === layer);
  });
  document.querySelectorAll("input[data-series]").forEach((box) => { box.checked = !state.hidden.has(Number(box.dataset.series)); });
  state.dotted = $("show-problems").checked ? detailed((series) => series.problems, MOST_DOTS) : new Set();
  state.banded = $("show-intervals").checked ? detailed(() => 1, MOST_BANDS) : new Set();
  document.querySelectorAll("#recovery-chart .series").forEach((group) => {
    const place = Number(group.dataset.series);
    group.classList.toggle("dotless", !state.dotted.has(place));
    group.classList.toggle("bandless", !state.banded.has(place));
  });
  drawTrajectories();
  if ($("more")) {
    const count = others().length;
    $("more").textContent = `Show ${count} more recoveries of ${state.layer}, from their files`;
    $("more").hidden = !count;
    $("others").hidden = true;
    $("others").replaceChildren();
  }
}

drawCurves();
drawLegend();
drawSizes();
drawChoice();
followCurves();
followCells(document);
$("show-problems").addEventListener("change", show);
$("show-intervals").addEventListener("change", show);
$("all-on").addEventListener("click", () => { state.hidden.clear(); keep(); });
$("all-off").addEventListener("click", () => { state.hidden = new Set(data.series.keys()); keep(); });
$("more")?.addEventListener("click", showOthers);
addEventListener("hashchange", () => { read(); show(); });
read();
show();
