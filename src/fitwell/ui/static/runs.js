// The list of runs. What is sorted, filtered and picked stands behind the # of the address.

import { sparkline } from "./chart.js";
import { address, byId, date, duration, el, listen, metricLabel, metricText, pill, short } from "./shared.js";

const PAGE = 200;
const FILTERS = ["status", "task", "data"];
const ORDER = ["running", "failed", "killed", "stopped", "damaged", "finished"];

const better = (run) => (run.score === null ? null : run.lower ? -run.score : run.score);

// key: [title, value to sort by, whether the first click puts the largest first, what a cell shows]
const COLUMNS = {
  name: ["run", (run) => run.name, false, nameCell],
  status: ["status", (run) => ORDER.indexOf(run.status), false, (run) => pill(run.status)],
  score: ["validation", better, true, scoreCell],
  curve: ["curve", null, false, curveCell],
  epochs: ["epochs", (run) => run.epochs, true, epochsCell],
  data: ["data", (run) => run.data ?? "", false, (run) => words(run.data)],
  model: ["model", (run) => run.model ?? "", false, (run) => words(run.model)],
  time: ["time", (run) => run.seconds, true, (run) => duration(run.seconds)],
  date: ["started", (run) => run.created ?? 0, true, (run) => date(run.created)],
};

const runs = new Map();
const drawn = new Map();
let folder = "";
let pending = 0;
let limit = PAGE;
let state = read();

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const sort = given.get("sort") ?? "-date";
  const key = sort.replace(/^-/, "");
  const known = COLUMNS[key]?.[1];
  return {
    sort: known ? key : "date",
    down: known ? sort.startsWith("-") : true,
    q: given.get("q") ?? "",
    picked: new Set(given.getAll("pick")),
    ...Object.fromEntries(FILTERS.map((name) => [name, given.get(name) ?? ""])),
  };
}

function write() {
  const given = new URLSearchParams();
  const sort = (state.down ? "-" : "") + state.sort;
  if (sort !== "-date") given.set("sort", sort);
  for (const name of ["q", ...FILTERS]) if (state[name]) given.set(name, state[name]);
  for (const name of state.picked) given.append("pick", name);
  const hash = String(given);
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
}

function change(more) {
  state = { ...state, ...more };
  write();
  show();
}

function words(text) {
  return el("span", { class: "words", title: text }, text ?? "–");
}

function nameCell(run) {
  const link = el("a", { href: address(run.name), class: "name" }, run.name);
  return run.notes.length ? el("div", {}, link, el("small", { class: "warn" }, run.notes.join("; "))) : link;
}

function scoreCell(run) {
  if (run.metric === null) return "–";
  return el("div", {}, el("b", {}, metricText(run.metric, run.score)), el("small", {}, metricLabel(run.metric)));
}

function curveCell(run) {
  const metric = run.metric === null ? "no curve" : `${metricLabel(run.metric)} by epoch`;
  return sparkline(run.curve, metric);
}

function epochsCell(run) {
  const planned = run.planned !== null && run.planned !== run.epochs && run.status !== "finished";
  return short(run.epochs) + (planned ? ` of ${short(run.planned)}` : "");
}

function fits(run) {
  if (FILTERS.some((name) => state[name] && String(run[name]) !== state[name])) return false;
  const text = [run.name, run.model, run.data, run.task, run.status, ...run.notes].join(" ").toLowerCase();
  return state.q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function sorted() {
  const value = COLUMNS[state.sort][1];
  const sign = state.down ? -1 : 1;
  const compare = (a, b) => {
    const [one, other] = [value(a), value(b)];
    if ((one === null) !== (other === null)) return one === null ? 1 : -1; // without a value: last
    if (state.sort === "score" && a.metric !== b.metric) return String(a.metric) < String(b.metric) ? -1 : 1;
    if (typeof one === "string") return sign * one.localeCompare(other, "en", { numeric: true });
    return sign * (one - other);
  };
  const names = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  return [...runs.values()].filter(fits).sort((a, b) => compare(a, b) || names(a, b));
}

function row(run) {
  const before = drawn.get(run.name);
  if (before?.run === run) return before.row;
  const box = el("input", { type: "checkbox", "aria-label": `Pick ${run.name}`, onchange: () => pick(run.name, box.checked) });
  const cells = Object.entries(COLUMNS).map(([key, [, , , cell]]) => el("td", { class: `col-${key}` }, cell(run)));
  const made = el("tr", {}, el("td", { class: "col-pick" }, box), ...cells);
  made.dataset.name = run.name;
  if (before) before.row.replaceWith(made);
  drawn.set(run.name, { run, row: made });
  return made;
}

function pick(name, yes) {
  const picked = new Set(state.picked);
  if (yes) picked.add(name);
  else picked.delete(name);
  change({ picked });
}

function show() {
  const found = sorted();
  const shown = found.slice(0, limit).map(row);
  const rows = byId("rows");
  if (shown.length !== rows.children.length || shown.some((one, i) => rows.children[i] !== one)) rows.replaceChildren(...shown);
  for (const one of shown) {
    const picked = state.picked.has(one.dataset.name);
    one.classList.toggle("picked-row", picked);
    one.querySelector("input").checked = picked;
  }
  byId("more").hidden = found.length <= limit;
  byId("more").textContent = `Show ${Math.min(PAGE, found.length - limit)} more of ${found.length.toLocaleString("en")}`;
  showEmpty(found.length);
  showSummary(found.length);
  showHead();
  showFilters();
  showPicked();
}

function showEmpty(count) {
  byId("runs").hidden = count === 0;
  byId("empty").hidden = count > 0;
  byId("empty").textContent = runs.size ? "No run fits the filter." : pending ? "Reading …" : `No runs in ${folder} yet. Make one: fitwell train digits`;
}

function showSummary(count) {
  const running = [...runs.values()].filter((run) => run.status === "running").length;
  const parts = [`${runs.size.toLocaleString("en")} ${runs.size === 1 ? "run" : "runs"}`];
  if (count !== runs.size) parts.push(`${count.toLocaleString("en")} shown`);
  if (running) parts.push(`${running} running`);
  if (pending) parts.push(`reading ${pending.toLocaleString("en")} more`);
  byId("summary").replaceChildren(...[...parts, folder].map((part) => el("span", {}, part)));
  document.title = `${running ? `(${running}) ` : ""}Runs · fitwell`;
}

function showHead() {
  const heads = Object.entries(COLUMNS).map(([key, [title, value, first]]) => {
    if (value === null) return el("th", { class: `col-${key}`, scope: "col" }, title);
    const active = key === state.sort;
    const order = active ? (state.down ? "descending" : "ascending") : "none";
    const click = () => change({ sort: key, down: active ? !state.down : first });
    const arrow = el("i", { "aria-hidden": "true" }, active ? (state.down ? "↓" : "↑") : "");
    return el("th", { class: `col-${key}`, scope: "col", "aria-sort": order }, el("button", { type: "button", id: `by-${key}`, onclick: click }, title, arrow));
  });
  const focused = document.activeElement?.id;
  byId("head").replaceChildren(el("th", { class: "col-pick" }), ...heads);
  if (focused?.startsWith("by-")) byId(focused)?.focus();
}

function showFilters() {
  if (byId("q") !== document.activeElement) byId("q").value = state.q;
  for (const name of FILTERS) {
    const counts = new Map();
    for (const run of runs.values()) if (run[name]) counts.set(run[name], (counts.get(run[name]) ?? 0) + 1);
    const options = [...counts].sort(([a], [b]) => a.localeCompare(b, "en"));
    if (state[name] && !counts.has(state[name])) options.push([state[name], 0]);
    fill(byId(name), [["", `any ${name}`], ...options.map(([value, count]) => [value, `${value} (${count})`])], state[name]);
    byId(name).hidden = options.length < 2 && !state[name];
  }
  const sorts = Object.entries(COLUMNS).filter(([, [, value]]) => value !== null);
  const both = sorts.flatMap(([key, [title, , first]]) => [first, !first].map((down) => [(down ? "-" : "") + key, `by ${title} ${down ? "↓" : "↑"}`]));
  fill(byId("sort"), both, (state.down ? "-" : "") + state.sort);
}

function fill(select, options, value) {
  const text = JSON.stringify(options);
  if (select.dataset.options !== text) {
    select.dataset.options = text;
    select.replaceChildren(...options.map(([name, words]) => el("option", { value: name }, words)));
  }
  select.value = value;
}

function showPicked() {
  const picked = [...state.picked].filter((name) => runs.has(name));
  byId("picked").hidden = picked.length === 0;
  byId("count").textContent = picked.length === 1 ? "1 run picked; pick another one to compare" : `${picked.length} runs picked`;
  const compare = byId("compare");
  compare.hidden = picked.length < 2;
  compare.href = `/compare?${new URLSearchParams(picked.map((name) => ["run", name]))}`;
}

async function load() {
  const answer = await fetch("/api/runs").then((given) => given.json());
  ({ folder, pending } = answer);
  runs.clear();
  for (const run of answer.runs) runs.set(run.name, run);
  for (const name of drawn.keys()) if (!runs.has(name)) drawn.delete(name);
  show();
  if (pending) setTimeout(load, 100);
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    show();
  });
}

byId("q").addEventListener("input", () => change({ q: byId("q").value.trim() }));
for (const name of FILTERS) byId(name).addEventListener("change", () => change({ [name]: byId(name).value }));
byId("sort").addEventListener("change", () => {
  const value = byId("sort").value;
  change({ sort: value.replace(/^-/, ""), down: value.startsWith("-") });
});
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("clear").addEventListener("click", () => change({ picked: new Set() }));
byId("more").addEventListener("click", () => {
  limit += PAGE;
  show();
});
addEventListener("hashchange", () => {
  state = read();
  show();
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT)$/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  byId("q").focus();
});

listen("/events", load, {
  run: (name, run) => {
    runs.set(name, run);
    soon();
  },
  gone: (name) => {
    runs.delete(name);
    drawn.delete(name);
    soon();
  },
});
