// What is chosen: kept in the address, so that a link leads to what its sender saw.


function choose(layer) {
  state.layer = layer;
  keep();
}

/** Intervals of more curves than these are shown for the chosen layer only. */
const MOST_BANDS = 6;

/** Put the state into the address, and onto the page. */
function keep() {
  const kept = new URLSearchParams({ layer: state.layer });
  if (state.hidden.size) kept.set("hide", [...state.hidden].sort((a, b) => a - b).join(","));
  history.replaceState(null, "", `#${kept}`);
  show();
}

/** Read the state from the address; other addresses are places on the page. */
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
  document.querySelectorAll("#recovery-chart .dot").forEach((dot) => { dot.style.display = $("show-problems").checked ? "" : "none"; });
  const few = data.series.length - state.hidden.size <= MOST_BANDS;
  document.querySelectorAll("#recovery-chart .band").forEach((band) => {
    const wanted = $("show-intervals").checked && (few || band.parentNode.classList.contains("chosen"));
    band.style.display = wanted ? "" : "none";
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
