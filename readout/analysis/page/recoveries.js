// Recovered inputs of the chosen layer: their numbers, and those loaded from files.

/** Return the true and the recovered picture, if the page holds both. */
function picturesOf(index) {
  const image = document.querySelector(`[data-problem="${index}"] img`);
  const true_ = image?.closest("tr").querySelector(".true img");
  return image && true_ ? [[true_.src, "true"], [image.src, "recovered"]] : [];
}

function followCells(root) {
  for (const cell of root.querySelectorAll("[data-problem]")) {
    const problem = problems[cell.dataset.problem];
    const show = (event) => {
      const box = cell.getBoundingClientRect();
      tell(named(problem), numbers(problem), event.clientX || box.right, event.clientY || box.top, picturesOf(cell.dataset.problem));
    };
    cell.removeAttribute("title");
    cell.setAttribute("aria-describedby", "tip");
    cell.addEventListener("pointermove", show);
    cell.addEventListener("focus", show);
    cell.addEventListener("pointerleave", hush);
    cell.addEventListener("blur", hush);
    cell.addEventListener("keydown", (event) => walk(event, cell));
  }
}

/** Move the focus from cell to cell by arrow keys. */
function walk(event, cell) {
  const [across, down] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] ?? [0, 0];
  if (event.key === "Escape") hush();
  if (!across && !down) return;
  event.preventDefault();
  const row = cell.closest("tr");
  const rows = [...cell.closest("section").querySelectorAll("tr")].filter((one) => one.querySelector(".cell") && one.offsetParent);
  const wanted = rows[rows.indexOf(row) + down]?.children[cell.closest("td").cellIndex + across];
  wanted?.querySelector(".cell")?.focus();
}

/** Mark a recovery and bring it into view. */
function reveal(index) {
  document.querySelectorAll(".cell.chosen").forEach((cell) => cell.classList.remove("chosen"));
  if (!document.querySelector(`[data-problem="${index}"]`) && !$("more").hidden) showOthers();
  const cell = document.querySelector(`[data-problem="${index}"]`);
  cell?.classList.add("chosen");
  cell?.scrollIntoView({ block: "center" });
}

/** List recovered inputs of the chosen layer that the page doesn't hold, but their files or words. */
function others() {
  const layer = data.layers.indexOf(state.layer);
  const here = new Set([...document.querySelectorAll(".recoveries [data-problem]")].map((cell) => Number(cell.dataset.problem)));
  const told = ({ file, word }) => present(file) || present(word);
  return problems.map((_, index) => index).filter((index) => problems[index].layer === layer && told(problems[index]) && !here.has(index));
}

function showOthers() {
  const found = others();
  const levels = [...new Set(found.map((index) => problems[index].level))].sort((a, b) => a - b);
  const rows = Map.groupBy(found, (index) => `${problems[index].sample}/${problems[index].draw}/${problems[index].folder}`);
  const head = make("tr", {}, make("th", { scope: "col" }, "input"), make("th", { scope: "col" }, "true"), ...levels.map((level) => make("th", { scope: "col" }, `level ${number(level)}`)));
  const body = make("tbody");
  for (const indices of rows.values()) {
    const first = problems[indices[0]];
    const name = [data.samples[first.sample], ...(several ? [data.folders[first.folder].name] : []), ...(first.draw ? [`draw ${first.draw}`] : [])];
    const src = data.folders[first.folder].inputs[first.sample];
    const row = make("tr", {}, make("th", { scope: "row" }, name.join(", ")), make("td", { class: "true" }, ...(src ? [make("img", { src, loading: "lazy", alt: `${name[0]}, true` })] : [])));
    for (const level of levels) {
      const index = indices.find((one) => problems[one].level === level);
      row.append(make("td", {}, ...(present(index) ? [linked(index)] : [])));
    }
    body.append(row);
  }
  $("others").replaceChildren(make("div", { class: "wide" }, make("table", { class: "pictures", style: `--columns: ${levels.length + 1}` }, make("thead", {}, head), body)));
  $("others").hidden = false;
  $("more").hidden = true;
  followCells($("others"));
}

/** Return a cell with a recovered input from its file. */
function linked(index) {
  const problem = problems[index];
  const cell = make("a", { class: `cell ${problem.verdict}`, "data-problem": index, href: problem.file, tabindex: problem.file ? null : 0 });
  if (problem.file?.endsWith(".png")) cell.append(make("img", { src: problem.file, loading: "lazy", alt: named(problem) }));
  if (present(problem.word)) cell.append(make("b", {}, problem.word));
  cell.append(make("span", {}, `${present(problem.distance) ? problem.distance.toFixed(3) : "–"} ${data.marks[problem.verdict]}`));
  return cell;
}

function drawChoice() {
  for (const layer of data.layers) {
    const input = make("input", { type: "radio", name: "layer", value: layer });
    input.addEventListener("change", () => choose(layer));
    $("layer-choice")?.append(make("label", {}, input, layer));
  }
}
