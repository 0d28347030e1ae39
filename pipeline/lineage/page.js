// Draws the graph, and answers clicks and keys. Texts of the data reach the page as text alone, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const NODES = new Map(data.nodes.map((node) => [node.id, node]));
const NEAR = adjacency(data.nodes, data.edges);
const UPWARDS = data.direction === "up";
const AWAY = UPWARDS ? NEAR.back : NEAR.out;
const START = data.start.length ? data.start : data.nodes.slice(0, 1).map((node) => node.id);
const LEVELS = levelsFrom(START, AWAY, NODES.keys());
const RUNS = [...new Set(data.nodes.map((node) => node.run).filter(Boolean))].sort();
if (RUNS.length > 1) for (const node of data.nodes) if (node.kind === "execution" && node.run) node.lines.push(node.run);
const MARKS = { table: "▦", model: "◆", artifact: "●", execution: "▷", file: "▤", group: "❏" };
const KINDS = { table: "table", model: "model or predictions", artifact: "other artifact", execution: "step", file: "source file", group: "folded run" };
const FEW = 120; // nodes shown at first
const MANY = 3000; // nodes that browsers draw without stalling
const LONGEST = 28; // characters of a line in a box

const view = { closed: new Set(), foldedRuns: new Set(), selected: "", zoom: 1, drawn: null };
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function shape(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function button(text, action) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", action);
  return made;
}

const short = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
const words = (node) => node.lines.join(", ");

/** Draws what is shown now; the keyboard's place stays. */
function draw() {
  const focused = document.activeElement?.dataset?.id;
  const visible = visibleFrom(START, AWAY, view.closed);
  const { shown, wires, standsFor } = folded(data.nodes, data.edges, visible, view.foldedRuns);
  const found = layout(shown, wires, UPWARDS);
  view.drawn = { shown: new Map(shown.map((node) => [node.id, node])), wires, standsFor, ...found };
  const arrow = shape("marker", { id: "arrow", viewBox: "0 0 10 10", refX: 10, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" });
  arrow.append(shape("path", { d: "M0 0L10 5L0 10z" }));
  const definitions = shape("defs");
  definitions.append(arrow);
  $("graph").replaceChildren(definitions, ...wires.map(wire), ...shown.map(box));
  resize();
  $("totals").textContent = totals(visible.size);
  light();
  const next = focused && view.drawn.shown.has(focused) ? focused : currentPlace();
  reachable(next, Boolean(focused));
}

function totals(visible) {
  const counts = [["artifacts", "artifact"], ["executions", "execution"], ["runs", "run"], ...(UPWARDS ? [["source_files", "source file"]] : [])];
  const all = counts.map(([key, noun]) => `${data.totals[key].toLocaleString("en")} ${noun}${data.totals[key] === 1 ? "" : "s"}`);
  const idle = data.hidden_resolvers ? ` ${data.hidden_resolvers} idle look-ups are left out.` : "";
  const nothing = data.edges.length ? "" : UPWARDS ? " Nothing on record made it." : " Nothing on record was made from it.";
  return `${all.join(", ")}; ${visible.toLocaleString("en")} of ${data.nodes.length.toLocaleString("en")} nodes shown.${idle}${nothing}`;
}

function wire(edge) {
  const at = (id) => view.drawn.places.get(id);
  const stops = [edge.tail, ...view.drawn.ways.get(edge), edge.head].map(at);
  let way = "";
  for (let i = 1; i < stops.length; i += 1) {
    const [from, to] = [stops[i - 1], stops[i]];
    const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
    const bend = Math.max(40, Math.abs(x2 - x1) / 2);
    way += `${i === 1 ? "M" : "L"}${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  }
  const made = shape("path", { class: "wire", d: way, "marker-end": "url(#arrow)" });
  made.dataset.tail = edge.tail;
  made.dataset.head = edge.head;
  if (edge.label) made.append(shape("title", {}, edge.label));
  return made;
}

function box(node) {
  const { x, y, height } = view.drawn.places.get(node.id);
  const made = shape("g", { class: `node ${node.kind} ${node.look}`, transform: `translate(${x} ${y})`, role: "button", tabindex: "-1", "aria-label": described(node) });
  made.dataset.id = node.id;
  made.append(shape("title", {}, words(node)));
  made.append(shape("rect", { class: "box", width: BOX.width, height, rx: node.kind === "execution" ? height / 2 : 5 }));
  made.append(shape("text", { class: "mark", x: 12, y: 20 }, MARKS[node.kind]));
  node.lines.forEach((line, i) => {
    const flag = line === "serving now" ? "flag" : i ? "more" : "";
    made.append(shape("text", { class: flag, x: 30, y: 20 + i * BOX.line }, short(line)));
  });
  made.addEventListener("click", () => select(node.id));
  if (node.kind === "group" || AWAY.get(node.id).length) made.append(toggle(node));
  return made;
}

function described(node) {
  const state = node.kind !== "group" && view.closed.has(node.id) && AWAY.get(node.id).length ? ", closed" : "";
  return `${KINDS[node.kind]}: ${words(node)}${state}`;
}

/** The knob at a node's corner that opens or closes what lies behind it. */
function toggle(node) {
  const isClosed = node.kind === "group" || view.closed.has(node.id);
  const made = shape("g", { class: "toggle", transform: `translate(${UPWARDS ? 4 : BOX.width - 4} 2)`, "aria-hidden": "true" });
  made.append(shape("title", {}, isClosed ? "Open (Space)" : "Close (Space)"));
  made.append(shape("circle", { r: 8 }), shape("text", { y: 4 }, isClosed ? "+" : "−"));
  made.addEventListener("click", (event) => {
    event.stopPropagation();
    turn(node.id);
  });
  return made;
}

function turn(id) {
  if (id.startsWith("run:")) view.foldedRuns.delete(id.slice(4));
  else if (view.closed.has(id)) open(id);
  else view.closed.add(id);
  draw();
  listRuns();
}

/** Opens a node by one step: the artifacts that then appear stay closed. */
function open(id) {
  const before = visibleFrom(START, AWAY, view.closed);
  view.closed.delete(id);
  const waiting = [...AWAY.get(id)];
  while (waiting.length) {
    const other = waiting.pop();
    if (before.has(other)) continue;
    before.add(other);
    if (NODES.get(other).kind === "execution") waiting.push(...AWAY.get(other));
    else if (AWAY.get(other).length) view.closed.add(other);
  }
}

function showNearest(most) {
  view.closed = closedBeyond(LEVELS, AWAY, most);
  view.foldedRuns.clear();
  draw();
  listRuns();
}

function resize() {
  const { width, height } = view.drawn;
  const graph = $("graph");
  graph.setAttribute("viewBox", `0 0 ${width} ${height}`);
  graph.setAttribute("width", width * view.zoom);
  graph.setAttribute("height", height * view.zoom);
}

function zoom(factor) {
  const canvas = $("canvas");
  const before = view.zoom;
  view.zoom = Math.min(3, Math.max(0.05, factor));
  const [x, y] = [canvas.scrollLeft + canvas.clientWidth / 2, canvas.scrollTop + canvas.clientHeight / 2];
  resize();
  canvas.scrollTo((x * view.zoom) / before - canvas.clientWidth / 2, (y * view.zoom) / before - canvas.clientHeight / 2);
}

function fit(least = 0) {
  const canvas = $("canvas");
  zoom(Math.max(least, Math.min(1, canvas.clientWidth / view.drawn.width, canvas.clientHeight / view.drawn.height)));
}

const drawnNode = (id) => $("graph").querySelector(`[data-id="${CSS.escape(id)}"]`);
const currentPlace = () => {
  const wanted = view.drawn.standsFor.get(view.selected) || view.selected;
  return view.drawn.shown.has(wanted) ? wanted : view.drawn.standsFor.get(START[0]);
};

/** The one node that Tab leads to. */
function reachable(id, focus) {
  for (const node of $("graph").querySelectorAll('[tabindex="0"]')) node.setAttribute("tabindex", "-1");
  const node = id && drawnNode(id);
  if (!node) return;
  node.setAttribute("tabindex", "0");
  if (focus) node.focus({ preventScroll: true });
}

function intoView(id) {
  const place = view.drawn.places.get(id);
  const canvas = $("canvas");
  if (!place) return;
  const [left, top] = [place.x * view.zoom, place.y * view.zoom];
  const [right, bottom] = [left + BOX.width * view.zoom, top + place.height * view.zoom];
  const inside = left >= canvas.scrollLeft && right <= canvas.scrollLeft + canvas.clientWidth && top >= canvas.scrollTop && bottom <= canvas.scrollTop + canvas.clientHeight;
  if (!inside) canvas.scrollTo((left + right - canvas.clientWidth) / 2, (top + bottom - canvas.clientHeight) / 2);
}

/** Marks the selected node and the edges at it. */
function light() {
  const id = view.drawn.standsFor.get(view.selected) || view.selected;
  for (const node of $("graph").querySelectorAll(".node")) node.classList.toggle("selected", node.dataset.id === id);
  for (const path of $("graph").querySelectorAll(".wire")) {
    path.classList.toggle("lit", path.dataset.tail === id || path.dataset.head === id);
  }
}

function select(id, focus = true) {
  view.selected = id;
  record(view.drawn.shown.get(id) || NODES.get(id));
  light();
  reachable(view.drawn.standsFor.get(id) || id, focus);
  intoView(view.drawn.standsFor.get(id) || id);
}

/** Opens whatever hides a node, then selects it. */
function reveal(id) {
  for (let at = id; LEVELS.get(at) > 0; ) {
    at = [...NEAR.out.get(at), ...NEAR.back.get(at)].find((other) => AWAY.get(other).includes(at) && LEVELS.get(other) < LEVELS.get(at));
    if (!visibleFrom(START, AWAY, view.closed).has(id)) view.closed.delete(at);
  }
  view.foldedRuns.delete(NODES.get(id).run);
  draw();
  listRuns();
  select(id);
}
