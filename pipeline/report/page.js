// Chooses the slices' metric, and explains a row. Texts of the data reach the page as text alone, never as markup.

/** The rows' places in the order asked for; those without a label are, of the worst predicted, the last. */
function ordered(data, order, output) {
  const places = data.id.map((_, place) => place);
  const prediction = (place) => data.predictions[place][output];
  const keys = {
    error: (place) => (data.error[place] === null ? Infinity : -data.error[place]),
    high: (place) => -prediction(place),
    low: prediction,
    id: (place) => place,
  };
  return places.sort((a, b) => (keys[order](a) === keys[order](b) ? a - b : keys[order](a) < keys[order](b) ? -1 : 1));
}

/** The bars of a row, from the bias to the margin: each begins where the one above ends. */
function waterfall(data, place, output) {
  const contributions = data.contributions[place][output];
  const bars = data.features.map((name, feature) => ({ name, value: data.values[place][feature], contribution: contributions[feature] }));
  bars.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  if (data.others) bars.push({ name: `${data.others} other features`, value: "", contribution: contributions[data.features.length] });
  let end = data.bias[place][output];
  const bias = { name: "bias", value: "", contribution: end, start: 0, end };
  for (const bar of bars) {
    bar.start = end;
    end += bar.contribution;
    bar.end = end;
  }
  return { bias, bars, margin: end };
}

/** A line of words about a row's prediction. */
function verdict(data, place, output, task) {
  const shown = figure(data.predictions[place][output]);
  const label = data.label[place] === null ? "not known" : data.label[place];
  if (task === "regression") return `Predicted ${shown}; the label is ${label}.`;
  return `Predicted a probability of ${shown} for ${data.classes[output]}; the label is ${label}.`;
}

function figure(value) {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumFractionDigits: 4 });
}

const signed = (value) => `${value < 0 ? "−" : "+"}${figure(Math.abs(value))}`;

if (typeof document !== "undefined") {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const WIDTH = 360;
  const HEIGHT = 18;

  const element = (name, attributes = {}, ...content) => {
    const made = name in { svg: 1, rect: 1, line: 1 } ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };

  const showCut = () => {
    const wanted = `${$("split").value} ${$("metric").value}`;
    for (const cut of document.querySelectorAll("[data-cut]")) cut.hidden = cut.dataset.cut !== wanted;
  };

  const bar = (from, to, at) => {
    const [left, right] = [Math.min(at(from), at(to)), Math.max(at(from), at(to))];
    const drawn = element("svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
    drawn.append(element("line", { x1: at(0), x2: at(0), y1: 0, y2: HEIGHT, class: "axis" }));
    drawn.append(element("line", { x1: at(to), x2: at(to), y1: 3, y2: HEIGHT, class: "link" }));
    drawn.append(element("rect", { x: left, y: 3, width: Math.max(1, right - left), height: HEIGHT - 6, class: to < from ? "bar down" : "bar" }));
    return drawn;
  };

  const line = (name, value, drawn, number, look = "") => {
    const shown = value === null ? element("span", { class: "missing" }, "missing") : value;
    const row = element("tr", look ? { class: look } : {}, element("th", { scope: "row" }, name), element("td", {}, shown));
    row.append(element("td", {}, drawn), element("td", { class: "number" }, number));
    return row;
  };

  const showRow = () => {
    const place = Number($("row").value);
    const output = Number($("class")?.value || 0);
    const { bias, bars, margin } = waterfall(data, place, output);
    const ends = [0, bias.end, ...bars.map((one) => one.end)];
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const at = (value) => 4 + ((value - low) / (high - low || 1)) * (WIDTH - 8);
    const head = element("tr", {}, ...["feature", "value", "from bias to margin", "contribution"].map((word) => element("th", { scope: "col" }, word)));
    const body = element("tbody", {}, line("bias", "", bar(0, bias.end, at), signed(bias.end)));
    for (const one of bars) body.append(line(one.name, one.value, bar(one.start, one.end, at), signed(one.contribution)));
    const task = $("rows").dataset.task;
    body.append(line(task === "regression" ? "prediction" : "margin", "", bar(0, margin, at), signed(margin), "total"));
    const caption = element("caption", {}, `_row ${data.id[place]}. ${verdict(data, place, output, task)}`);
    $("waterfall").replaceChildren(element("table", {}, caption, element("thead", {}, head), body));
    $("previous").disabled = $("row").selectedIndex === 0;
    $("next").disabled = $("row").selectedIndex === $("row").options.length - 1;
  };

  const listRows = () => {
    const output = Number($("class")?.value || 0);
    const words = (place) => `${data.id[place]}: ${figure(data.predictions[place][output])}, label ${data.label[place] ?? "not known"}`;
    $("row").replaceChildren(...ordered(data, $("order").value, output).map((place) => element("option", { value: place }, words(place))));
    showRow();
  };

  const move = (by) => () => {
    $("row").selectedIndex += by;
    showRow();
  };

  if ($("split")) for (const id of ["split", "metric"]) $(id).addEventListener("change", showCut);
  if ($("rows") && data.id.length) {
    $("order").addEventListener("change", listRows);
    $("class")?.addEventListener("change", listRows);
    $("row").addEventListener("change", showRow);
    $("previous").addEventListener("click", move(-1));
    $("next").addEventListener("click", move(1));
    listRows();
  }
}
