// The page of one run: its numbers and curves, which grow while it trains.

import { Chart } from "./chart.js";
import { address, byId, date, duration, el, getJSON, isShare, listen, metricLabel, metricText, pill, short } from "./shared.js";

const name = location.pathname.slice("/runs/".length).split("/").map(decodeURIComponent).join("/");
const api = `/api${address(name)}`;
const charts = new Map();
let row = null;
let facts = null;
let gone = false;

async function load() {
  const { row: fresh, ...rest } = await getJSON(api);
  [row, facts, gone] = [fresh, rest, false];
  show();
}

function chart(key, title, options) {
  if (!charts.has(key)) {
    const made = new Chart(title, options);
    charts.set(key, made);
    byId("charts").insertBefore(made.host, key.startsWith("metric") ? charts.get("lr")?.host ?? null : null);
  }
  return charts.get(key);
}

function line(name, part, metric, looks) {
  const rows = facts.epochs.filter((epoch) => epoch.step !== null && epoch[part][metric] !== undefined);
  return { name, x: rows.map((epoch) => epoch.step), y: rows.map((epoch) => epoch[part][metric]), ...looks };
}

function showCharts() {
  const best = facts.epochs.find((epoch) => epoch.epoch === row.best_epoch)?.step ?? null;
  const steps = facts.steps.filter(([, loss]) => loss !== null);
  const training = { color: "series-1" };
  const validation = { color: "series-2", mark: best };
  chart("loss", "Loss", { format: short, canLog: true }).set([
    { name: "training, by step", x: steps.map(([step]) => step), y: steps.map(([, loss]) => loss), color: "series-1", faint: true },
    line("training", "train", "loss", training),
    line("validation", "valid", "loss", validation),
  ]);
  const names = new Set(facts.epochs.flatMap((epoch) => [...Object.keys(epoch.valid), ...Object.keys(epoch.train)]));
  names.delete("loss");
  if (names.has("accuracy")) names.delete("error"); // the same curve upside down
  const first = [...names].sort((a, b) => (b === row.metric) - (a === row.metric));
  for (const metric of first) {
    const title = metricLabel(metric);
    chart(`metric ${metric}`, title[0].toUpperCase() + title.slice(1), { format: (value) => metricText(metric, value), share: isShare(metric), canLog: !isShare(metric) }).set([
      line("training", "train", metric, training),
      line("validation", "valid", metric, validation),
    ]);
  }
  const rates = new Map([...facts.epochs.map((epoch) => [epoch.step, epoch.lr]), ...facts.steps.map(([step, , lr]) => [step, lr])]);
  const known = [...rates].filter(([step, lr]) => step !== null && lr !== null).sort(([a], [b]) => a - b);
  chart("lr", "Learning rate", { format: short, fromZero: true }).set([{ name: "", x: known.map(([step]) => step), y: known.map(([, lr]) => lr), color: "series-3" }]);
  const timed = facts.epochs.filter((epoch) => epoch.step !== null && epoch.speed !== null);
  chart("speed", "Examples per second", { format: short, fromZero: true }).set([
    { name: "", x: timed.map((epoch) => epoch.step), y: timed.map((epoch) => Math.round(epoch.speed)), color: "series-4" },
  ]);
}

function show() {
  document.title = `${row.status === "running" ? "▸ " : ""}${name} · fitwell`;
  byId("name").textContent = name;
  byId("status").replaceChildren(pill(gone ? "gone" : row.status));
  byId("under").replaceChildren(...[row.task, row.data, row.model, date(row.created)].filter(Boolean).map((part) => el("span", {}, part)));
  const notes = gone ? ["This run is no longer in its folder."] : row.notes;
  byId("notes").hidden = notes.length === 0;
  byId("notes").replaceChildren(...notes.map((note) => el("li", {}, note)));
  byId("report").href = `${address(name)}/report`;
  byId("report").hidden = !row.epochs && !facts.steps.length;
  showProgress();
  showTiles();
  showCharts();
  showFacts();
}

function showProgress() {
  const running = row.status === "running" && !gone && row.planned > 0;
  byId("progress").hidden = !running;
  if (!running) return;
  const done = Math.min(1, row.epochs / row.planned);
  byId("progress").querySelector("i").style.width = `${100 * done}%`;
  const left = row.epochs ? `about ${duration((row.seconds / row.epochs) * (row.planned - row.epochs))} left` : "";
  byId("eta").textContent = [`epoch ${short(row.epochs)} of ${short(row.planned)}`, left].filter(Boolean).join(" · ");
}

function showTiles() {
  const last = facts.steps.at(-1);
  const tiles = [
    row.metric === null ? null : [`validation ${metricLabel(row.metric)}`, metricText(row.metric, row.score), row.best_epoch === null ? "" : `best epoch ${short(row.best_epoch)}`],
    row.test === null ? null : [`test ${metricLabel(row.metric)}`, metricText(row.metric, row.test), ""],
    last ? ["training loss", short(last[1]), `step ${short(last[0])}`] : null,
    ["epochs", short(row.epochs), row.planned !== null && row.planned !== row.epochs ? `of ${short(row.planned)}` : ""],
    ["training time", duration(row.seconds), ""],
    row.speed === null ? null : ["throughput", short(Math.round(row.speed)), "examples per second"],
    row.parameters === null ? null : ["parameters", short(row.parameters), ""],
  ];
  byId("tiles").replaceChildren(
    ...tiles.filter(Boolean).map(([what, value, small]) => el("div", { class: "card tile" }, el("p", { class: "what" }, what), el("p", { class: "value" }, value), el("p", { class: "note" }, small))),
  );
}

function plain(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.length ? value.map(plain).slice(0, 12).join(", ") + (value.length > 12 ? ` and ${value.length - 12} more` : "") : "–";
  if (typeof value === "object") return Object.entries(value).map(([key, item]) => `${key} ${plain(item)}`).join(", ") || "–";
  return String(value);
}

let shownFacts = "";
function showFacts() {
  const groups = [...Object.entries(facts.settings), ["data", facts.data], ["machine", facts.machine], ["versions", facts.versions]];
  const text = JSON.stringify([facts.command, groups, facts.parts]);
  if (text === shownFacts) return; // opened groups stay open while it trains
  shownFacts = text;
  const tables = groups.filter(([, values]) => values && typeof values === "object" && Object.keys(values).length).map(([title, values]) => {
    const rows = Object.entries(values).map(([key, value]) => el("div", {}, el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, plain(value))));
    return el("div", { class: "card" }, el("h3", {}, title), el("dl", { class: "pairs" }, ...rows));
  });
  const parts = Object.entries(facts.parts).filter(([, values]) => Object.keys(values).length);
  const metrics = parts.map(([part, values]) => [part, Object.entries(values).map(([metric, value]) => `${metricLabel(metric)} ${metricText(metric, value)}`).join(", ")]);
  byId("facts").replaceChildren(
    ...(metrics.length ? [el("h2", {}, "Results"), el("dl", { class: "card pairs" }, ...metrics.map(([part, words]) => el("div", {}, el("dt", {}, part), el("dd", {}, words))))] : []),
    ...(facts.command ? [el("h2", {}, "Command"), el("pre", {}, facts.command)] : []),
    el("h2", {}, "Settings"),
    el("div", { class: "grid" }, ...tables),
  );
}

/** Put new points behind the known ones; what is not seamless is loaded anew. */
async function append(data) {
  if (data.end <= facts.end) return;
  if (data.start !== facts.end) return load();
  const lastStep = facts.steps.at(-1)?.[0] ?? -1;
  const lastEpoch = facts.epochs.at(-1)?.epoch ?? -1;
  facts.steps.push(...data.steps.filter(([step]) => step > lastStep));
  facts.epochs.push(...data.epochs.filter((epoch) => epoch.epoch > lastEpoch));
  facts.end = data.end;
  show();
}

listen(`/events?${new URLSearchParams({ run: name })}`, load, {
  lines: (_, data) => append(data),
  rewound: () => load(),
  run: (_, fresh) => {
    const ended = row.status === "running" && fresh.status !== "running";
    [row, gone] = [fresh, false];
    return ended ? load() : show();
  },
  gone: () => {
    gone = true;
    show();
  },
});
