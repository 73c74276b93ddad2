// Data of the page, and a tooltip with the numbers of the element under the pointer.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const several = data.folders.length > 1;
const problems = data.problems.map((row) => Object.fromEntries(data.columns.map((name, place) => [name, row[place]])));
const metrics = data.columns.slice(data.columns.indexOf("file") + 1);
const present = (value) => value !== null && value !== undefined;
const number = (value, digits = 4) => (present(value) ? Number(value.toPrecision(digits)).toString() : "–");
const words = (verdict) => verdict.replace("_", " ");
/** The chosen layer; series that are hidden, and series that show single inversions and intervals. */
const state = { layer: data.layers[0], hidden: new Set(), dotted: new Set(), banded: new Set() };

/** Return a new HTML element; children are nodes or text. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (present(value)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Show a title, [name, value] pairs and pictures in a tooltip at window coordinates. */
function tell(title, pairs, x, y, pictures = []) {
  const list = make("dl");
  for (const [name, value, kind] of pairs) list.append(make("dt", {}, name), make("dd", { class: kind }, value));
  const images = make("div", { class: "pair" });
  for (const [src, name] of pictures) images.append(make("span", {}, make("img", { src, alt: "" }), name));
  const tip = $("tip");
  tip.replaceChildren(...(pictures.length ? [images] : []), make("b", {}, title), list);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, x + 18 + width > innerWidth ? x - width - 14 : x + 18)}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
}
const hush = () => { $("tip").hidden = true; };

/** Return the numbers of one inversion as [name, value] pairs. */
function numbers(problem) {
  const { best_distance, best_step, loss, floor, steps } = problem;
  return [
    ["verdict", words(problem.verdict), problem.verdict],
    ...(present(problem.word) ? [["read", problem.word]] : []),
    [data.symbol, `${number(problem.distance)} (threshold ${number(data.folders[problem.folder].threshold)})`],
    ...(steps ? [[`best ${data.symbol}`, `${number(best_distance)}${present(best_step) ? ` at step ${best_step}` : ""}`]] : []),
    ["realised d_H", number(problem.feature_distance)],
    ...(present(loss) ? [["loss", number(loss)], ["at the true input", number(floor)]] : []),
    ...(floor > 0 && present(loss) ? [["ratio of the two", number(loss / floor)]] : []),
    ...(steps ? [["steps", `${steps}${problem.restarts ? `, restarts ${problem.restarts}` : ""}`]] : []),
    ...metrics.filter((name) => present(problem[name])).map((name) => [name, number(Number(problem[name]))]),
  ];
}

function named(problem) {
  const draw = problems.some((other) => other.draw !== problem.draw) ? `, draw ${problem.draw}` : "";
  const folder = several ? ` (${data.folders[problem.folder].name})` : "";
  return `${data.samples[problem.sample]} from ${data.layers[problem.layer]} at level ${number(problem.level)}${draw}${folder}`;
}
