"use strict";

// What of the graph is shown, and where. Plain data in, plain data out: nothing here touches the page.

/** Neighbours of every node: `out` the way the data went, `back` against it. */
function adjacency(nodes, edges) {
  const out = new Map(nodes.map((node) => [node.id, []]));
  const back = new Map(nodes.map((node) => [node.id, []]));
  for (const edge of edges) {
    out.get(edge.tail).push(edge.head);
    back.get(edge.head).push(edge.tail);
  }
  return { out, back };
}

/** How many edges each node is from the start, walking away from it; what cannot be reached is at 0, with the start. */
function levelsFrom(start, away, ids) {
  const levels = new Map();
  let frontier = start.filter((id) => away.has(id));
  for (let level = 0; frontier.length; level += 1) {
    const next = [];
    for (const id of frontier) {
      if (levels.has(id)) continue;
      levels.set(id, level);
      next.push(...away.get(id));
    }
    frontier = next;
  }
  for (const id of ids) if (!levels.has(id)) levels.set(id, 0);
  return levels;
}

/** The nodes to close so that about `most` of the nearest are shown: those of the last level that is not too much. */
function closedBeyond(levels, away, most) {
  const counts = [];
  for (const level of levels.values()) counts[level] = (counts[level] || 0) + 1;
  let last = 0;
  for (let shown = counts[0] || 0; last + 1 < counts.length && (last < 2 || shown + counts[last + 1] <= most); last += 1) {
    shown += counts[last + 1];
  }
  const closed = new Set();
  for (const [id, level] of levels) {
    if (level === last && away.get(id).some((other) => levels.get(other) > last)) closed.add(id);
  }
  return closed;
}

/** The nodes that can be reached from the start without going through a closed one. */
function visibleFrom(start, away, closed) {
  const seen = new Set();
  const waiting = [...start];
  while (waiting.length) {
    const id = waiting.pop();
    if (seen.has(id) || !away.has(id)) continue;
    seen.add(id);
    if (!closed.has(id)) waiting.push(...away.get(id));
  }
  return seen;
}

/** Shown nodes and edges, those of folded runs as one node each. */
function folded(nodes, edges, visible, foldedRuns) {
  const groups = new Map();
  const standsFor = new Map();
  const shown = [];
  for (const node of nodes) {
    if (!visible.has(node.id)) continue;
    const group = node.run && foldedRuns.has(node.run) ? `run:${node.run}` : "";
    standsFor.set(node.id, group || node.id);
    if (!group) shown.push(node);
    else if (groups.has(group)) groups.get(group).members.push(node);
    else groups.set(group, { id: group, kind: "group", run: node.run, members: [node] });
  }
  for (const group of groups.values()) {
    const steps = group.members.filter((node) => node.kind === "execution").length;
    group.lines = [group.run, `${steps} steps, ${group.members.length - steps} artifacts`];
    const looks = group.members.map((node) => node.look);
    group.look = ["serving", "start", "failed"].find((look) => looks.includes(look)) || "plain";
    shown.push(group);
  }
  const wires = new Map();
  for (const edge of edges) {
    const tail = standsFor.get(edge.tail);
    const head = standsFor.get(edge.head);
    if (tail && head && tail !== head) wires.set(`${tail}\n${head}`, { tail, head, label: edge.label });
  }
  return { shown, wires: [...wires.values()], standsFor };
}

/** The edges without those that close a circle, which folded runs may make. */
function acyclic(ids, wires) {
  const out = new Map(ids.map((id) => [id, []]));
  for (const wire of wires) out.get(wire.tail).push(wire);
  const state = new Map(); // 1 while on the path, 2 when done
  const kept = [];
  for (const root of ids) {
    if (state.has(root)) continue;
    const path = [[root, 0]];
    state.set(root, 1);
    while (path.length) {
      const top = path[path.length - 1];
      const wire = out.get(top[0])[top[1]];
      top[1] += 1;
      if (!wire) {
        state.set(top[0], 2);
        path.pop();
      } else if (state.get(wire.head) !== 1) {
        kept.push(wire);
        if (!state.has(wire.head)) {
          state.set(wire.head, 1);
          path.push([wire.head, 0]);
        }
      }
    }
  }
  return kept;
}

/** The column of each node: the longest way from the start; upwards, columns are counted from the right. */
function columns(ids, wires, upwards) {
  const from = upwards ? "head" : "tail";
  const to = upwards ? "tail" : "head";
  const onwards = new Map(ids.map((id) => [id, []]));
  const missing = new Map(ids.map((id) => [id, 0]));
  for (const wire of acyclic(ids, wires)) {
    onwards.get(wire[from]).push(wire[to]);
    missing.set(wire[to], missing.get(wire[to]) + 1);
  }
  const column = new Map(ids.map((id) => [id, 0]));
  const ready = ids.filter((id) => !missing.get(id));
  let last = 0;
  for (let i = 0; i < ready.length; i += 1) {
    for (const other of onwards.get(ready[i])) {
      column.set(other, Math.max(column.get(other), column.get(ready[i]) + 1));
      last = Math.max(last, column.get(other));
      missing.set(other, missing.get(other) - 1);
      if (!missing.get(other)) ready.push(other);
    }
  }
  if (upwards) for (const id of ids) column.set(id, last - column.get(id));
  return column;
}

const BOX = { width: 200, line: 16, padding: 14, gap: 14, between: 64, wire: 4 };
const MOST_BENDS = 20000;

function heightOf(node) {
  return node.lines ? BOX.padding + BOX.line * node.lines.length : BOX.wire;
}

/** Where each node stands, columns from left to right and within each near to its neighbours, and the way of each wire. */
function layout(shown, wires, upwards) {
  const column = columns(shown.map((node) => node.id), wires, upwards);
  const { bends, segments, ways } = bent(wires, column);
  const nodes = [...shown, ...bends];
  const { out, back } = adjacency(nodes, segments);
  const byColumn = [];
  for (const node of nodes) (byColumn[column.get(node.id)] ||= []).push(node);
  const middle = new Map();
  for (const some of byColumn) stack(some, some.map(() => 0), middle);
  for (let sweep = 0; sweep < 10; sweep += 1) {
    for (let i = 0; i < byColumn.length; i += 1) {
      const some = byColumn[sweep % 2 ? byColumn.length - 1 - i : i];
      const wanted = new Map(
        some.map(({ id }) => [id, mean([...out.get(id), ...back.get(id)].map((other) => middle.get(other)), middle.get(id))]),
      );
      some.sort((a, b) => wanted.get(a.id) - wanted.get(b.id));
      stack(some, some.map((node) => wanted.get(node.id)), middle);
    }
  }
  return { ...placed(byColumn, middle), ways };
}

/** Wires over more than one column, as bends that take a place in each column between, so that none runs behind a node. */
function bent(wires, column) {
  const bends = [];
  const segments = [];
  const ways = new Map();
  const spans = wires.reduce((sum, wire) => sum + Math.max(0, column.get(wire.head) - column.get(wire.tail) - 1), 0);
  for (const wire of wires) {
    const way = [];
    let tail = wire.tail;
    const last = spans > MOST_BENDS ? 0 : column.get(wire.head);
    for (let at = column.get(wire.tail) + 1; at < last; at += 1) {
      const id = `${wire.tail}\n${wire.head}\n${at}`;
      bends.push({ id });
      column.set(id, at);
      segments.push({ tail, head: id });
      way.push(id);
      tail = id;
    }
    segments.push({ tail, head: wire.head });
    ways.set(wire, way);
  }
  return { bends, segments, ways };
}

/** Puts a column's nodes under each other in their order, each as near as it may be to where it is wanted. */
function stack(nodes, wanted, middle) {
  let bottom = -Infinity;
  const tops = nodes.map((node, i) => {
    const top = Math.max(bottom, wanted[i] - heightOf(node) / 2);
    bottom = top + heightOf(node) + BOX.gap;
    return top;
  });
  const shift = mean(tops.map((top, i) => wanted[i] - (top + heightOf(nodes[i]) / 2)), 0);
  nodes.forEach((node, i) => middle.set(node.id, tops[i] + shift + heightOf(node) / 2));
}

function mean(numbers, otherwise) {
  return numbers.length ? numbers.reduce((sum, number) => sum + number, 0) / numbers.length : otherwise;
}

function placed(byColumn, middle) {
  const places = new Map();
  let top = Infinity;
  for (const nodes of byColumn) for (const node of nodes) top = Math.min(top, middle.get(node.id) - heightOf(node) / 2);
  let height = 0;
  byColumn.forEach((nodes, i) => {
    for (const node of nodes) {
      const y = middle.get(node.id) - heightOf(node) / 2 - top + 30;
      places.set(node.id, { x: 30 + i * (BOX.width + BOX.between), y, height: heightOf(node), column: i });
      height = Math.max(height, y + heightOf(node) + 30);
    }
  });
  return { places, width: 60 + byColumn.length * (BOX.width + BOX.between) - BOX.between, height };
}
