"use strict";
const of = (id) => document.getElementById(id);
let known = null;

function read(column, text) {
  const kind = known.columns[column];
  if (text === "") return null;
  if (kind === "bool") return text.toLowerCase() === "true";
  return /^u?int|^double$|^float$/.test(kind) && text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function row() {
  const found = {};
  for (const field of of("row").elements) if (field.name) found[field.name] = read(field.name, field.value);
  return found;
}

function show() {
  const request = JSON.stringify({ instances: [row()] }).replaceAll("'", "'\\''");
  of("curl").textContent = `curl -d '${request}' ${location.origin}/v1/models/${known.name}:predict`;
}

function cell(line, text) {
  line.insertCell().textContent = text;
}

function parts(explanation) {
  const body = of("parts").tBodies[0];
  body.replaceChildren();
  const sorted = Object.entries(explanation.contributions).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const most = Math.max(1e-12, ...sorted.map(([, adds]) => Math.abs(adds)));
  for (const [feature, adds] of sorted) {
    const line = body.insertRow();
    cell(line, feature);
    cell(line, explanation.values[feature] ?? "missing");
    cell(line, adds.toFixed(4));
    const bar = document.createElement("meter");
    bar.max = most;
    bar.value = Math.abs(adds);
    line.insertCell().append(bar);
  }
  of("parts").hidden = false;
}

async function ask(event) {
  event.preventDefault();
  show();
  const answer = of("answer");
  const post = (verb) =>
    fetch(`/v1/models/${encodeURIComponent(known.name)}:${verb}`, { method: "POST", body: JSON.stringify({ instances: [row()] }) });
  const told = await (await post("predict")).json();
  answer.className = told.error ? "wrong" : "";
  answer.textContent = told.error ?? `Prediction: ${JSON.stringify(told.predictions[0])}`;
  of("parts").hidden = true;
  if (told.error) return;
  const explained = await (await post("explain")).json();
  if (!explained.error) parts(explained.explanations[0]);
}

async function start() {
  known = await (await fetch("/try.json")).json();
  of("title").textContent = `Try ${known.title}`;
  for (const [column, value] of Object.entries(known.example)) {
    const label = document.createElement("label");
    label.textContent = `${column} (${known.columns[column]})`;
    const field = document.createElement("input");
    field.name = column;
    field.value = value ?? "";
    label.append(field);
    of("row").append(label);
  }
  of("row").addEventListener("submit", ask);
  of("row").addEventListener("input", show);
  show();
}

start();
