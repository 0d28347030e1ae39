// The record of a node, the search, the lists, and the keys.

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** Shows everything on record about a node, and what it hangs together with. */
function record(node) {
  const panel = $("record");
  const close = button("Close", closeRecord);
  close.className = "close";
  panel.replaceChildren(close, element("h2", {}, node.lines[0]));
  if (node.look === "serving") panel.append(element("span", { class: "badge" }, "serving now"));
  if (node.kind === "group") {
    panel.append(button("Unfold this run", () => turn(node.id)), heading("In this run"), links(node.members.map((member) => [member.id, ""])));
  } else {
    const { properties, ...own } = node.record;
    panel.append(facts(own));
    for (const [title, events] of [["Came from", arriving(node.id)], ["Went into", leaving(node.id)]]) {
      if (events.length) panel.append(heading(title), links(events));
    }
    if (properties && Object.keys(properties).length) panel.append(heading("Properties"), facts(properties));
  }
  panel.hidden = false;
}

function closeRecord() {
  $("record").hidden = true;
  view.selected = "";
  light();
}

const heading = (text) => element("h3", {}, text);
const arriving = (id) => data.edges.filter((edge) => edge.head === id).map((edge) => [edge.tail, edge.label]);
const leaving = (id) => data.edges.filter((edge) => edge.tail === id).map((edge) => [edge.head, edge.label]);

function facts(values) {
  const list = element("dl");
  for (const [key, value] of Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value === null || value === "" || (Array.isArray(value) && !value.length)) continue;
    const cell = element("dd");
    cell.append(element("pre", {}, pretty(value)));
    list.append(element("dt", {}, key), cell);
  }
  return list;
}

function links(events) {
  const list = element("div", { class: "links" });
  for (const [id, label] of events.slice(0, 200)) {
    const node = NODES.get(id);
    list.append(button(`${label ? `${label}: ` : ""}${MARKS[node.kind]} ${words(node)}${node.run ? `  (${node.run})` : ""}`, () => reveal(id)));
  }
  if (events.length > 200) list.append(element("p", {}, `and ${events.length - 200} more`));
  return list;
}

const texts = new Map();
function textOf(node) {
  if (!texts.has(node.id)) texts.set(node.id, `${node.id.slice(1)} ${words(node)} ${node.run} ${JSON.stringify(node.record)}`.toLowerCase());
  return texts.get(node.id);
}

/** Nodes that hold every word that was typed; those whose own words do come first. */
function search() {
  const wanted = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = $("results");
  const found = wanted.length ? data.nodes.filter((node) => wanted.every((word) => textOf(node).includes(word))) : [];
  const title = (node) => wanted.every((word) => `${words(node)} ${node.run}`.toLowerCase().includes(word));
  found.sort((a, b) => title(b) - title(a) || LEVELS.get(a.id) - LEVELS.get(b.id));
  $("found").textContent = wanted.length ? `${found.length.toLocaleString("en")} found` : "";
  list.replaceChildren(
    ...found.slice(0, 50).map((node) => {
      const item = element("li");
      item.append(button(`${MARKS[node.kind]} ${words(node)}${node.run ? `  (${node.run})` : ""}`, () => {
        list.hidden = true;
        reveal(node.id);
      }));
      return item;
    }),
  );
  list.hidden = !found.length;
}

function listRuns() {
  const list = $("runs").querySelector("div");
  const all = (fold) => () => {
    view.foldedRuns = new Set(fold ? RUNS : []);
    draw();
    listRuns();
  };
  list.replaceChildren(button("Fold every run", all(true)), button("Unfold every run", all(false)));
  for (const run of RUNS) {
    const tick = element("input", { type: "checkbox" });
    tick.checked = !view.foldedRuns.has(run);
    tick.addEventListener("change", () => {
      if (tick.checked) view.foldedRuns.delete(run);
      else view.foldedRuns.add(run);
      draw();
    });
    const label = element("label");
    label.append(tick, ` ${run}`);
    list.append(label);
  }
  $("runs").querySelector("summary").textContent = `Runs (${RUNS.length})`;
}

function listServing() {
  const served = data.nodes.filter((node) => node.look === "serving");
  $("serving").querySelector("summary").textContent = `Serving now (${served.length})`;
  const items = served.map((node) => button(`${words(node)}  (${node.run})`, () => {
    $("serving").open = false;
    reveal(node.id);
  }));
  $("serving").querySelector("div").replaceChildren(...(items.length ? items : [element("p", {}, "Nothing here serves now.")]));
}

/** The node to go to by an arrow key: along an edge, or up and down the column. */
function neighbour(id, key) {
  const { places, wires, shown } = view.drawn;
  const here = places.get(id);
  const candidates = [...shown.keys()].map((other) => [other, places.get(other)]).filter(([other, place]) => {
    if (key === "ArrowLeft") return wires.some((edge) => edge.head === id && edge.tail === other);
    if (key === "ArrowRight") return wires.some((edge) => edge.tail === id && edge.head === other);
    return place.column === here.column && (key === "ArrowUp" ? place.y < here.y : place.y > here.y);
  });
  candidates.sort(([, a], [, b]) => Math.abs(a.y - here.y) - Math.abs(b.y - here.y));
  return candidates.length ? candidates[0][0] : "";
}

function keyInGraph(event) {
  const id = event.target.dataset.id;
  if (!id) return;
  if (event.key.startsWith("Arrow")) {
    const next = neighbour(id, event.key);
    if (next) {
      reachable(next, true);
      intoView(next);
    }
  } else if (event.key === "Enter") select(id);
  else if (event.key === " ") turn(id);
  else return;
  event.preventDefault();
}

function keyAnywhere(event) {
  if (event.key === "Escape") {
    $("results").hidden = true;
    if (!$("record").hidden) closeRecord();
    for (const details of document.querySelectorAll("details")) details.open = false;
  } else if (event.key === "/" && document.activeElement !== $("search")) {
    event.preventDefault();
    $("search").focus();
  }
}

function listLegend() {
  const kinds = Object.entries(KINDS).map(([kind, name]) => `${MARKS[kind]} ${name}`);
  const looks = ["thick green: serving now", "yellow: what was asked for", "dashed: from the cache, or removed since", "red: failed"];
  $("legend").replaceChildren(...[...kinds, ...looks].map((text) => element("li", {}, text)));
}

$("search").addEventListener("input", search);
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") $("results").querySelector("button")?.click();
});
$("nearest").addEventListener("click", () => showNearest(FEW));
$("all").addEventListener("click", () => showNearest(MANY));
$("smaller").addEventListener("click", () => zoom(view.zoom / 1.25));
$("larger").addEventListener("click", () => zoom(view.zoom * 1.25));
$("fit").addEventListener("click", () => fit());
$("graph").addEventListener("keydown", keyInGraph);
document.addEventListener("keydown", keyAnywhere);
listServing();
listLegend();
showNearest(FEW);
fit(0.7);
if (view.drawn.shown.size) intoView(currentPlace());
