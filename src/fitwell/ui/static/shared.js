// What both pages use: building elements, words for numbers, and listening to the server.

const SHARES = new Set(["accuracy", "balanced_accuracy", "error", "precision", "recall", "f1", "macro_f1"]);
const NAMES = { mse: "MSE", rmse: "RMSE", mae: "MAE", r2: "R²", f1: "F1", macro_f1: "macro F1" };

/** Build an element; texts are never read as markup. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function metricLabel(name) {
  return NAMES[name] ?? String(name).replaceAll("_", " ");
}

export const isShare = (name) => SHARES.has(name);

export function metricText(name, value) {
  if (value === null || value === undefined) return "–";
  if (!SHARES.has(name) || value < 0 || value > 1) return short(value);
  let percent = Math.round(1000 * value) / 10; // never 100% of not all, nor 0% of some
  if (value < 1 && percent >= 100) percent = 99.9;
  if (value > 0 && percent <= 0) percent = 0.1;
  return `${percent.toFixed(1)}%`;
}

export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7) return value.toLocaleString("en");
  if (size >= 1e7 || size < 1e-4) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !(seconds > 0)) return "–";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

export function date(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const when = new Date(1000 * seconds);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}`;
}

export const address = (name) => `/runs/${name.split("/").map(encodeURIComponent).join("/")}`;

export async function getJSON(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

/** A pill with the status; what it says stands in its class as well, for its colour. */
export function pill(status) {
  const known = ["finished", "running", "stopped", "failed", "killed", "damaged"];
  return el("span", { class: `status ${known.includes(status) ? status : ""}` }, status);
}

/**
 * Listen to events while the page is seen. `load` runs at each connection that missed something;
 * what comes while it runs is kept back until it is done.
 */
export function listen(url, load, handlers) {
  const link = byId("link");
  let source = null;
  let loading = null;
  const say = (words, kind) => {
    link.textContent = words;
    link.className = `link ${kind}`;
  };
  const reload = () => {
    loading = (loading ?? Promise.resolve()).then(load).catch(() => say("cannot be read", "off"));
  };
  const open = () => {
    if (source !== null) return;
    source = new EventSource(url);
    source.addEventListener("open", () => say("live", "on"));
    source.addEventListener("error", () => {
      say("not connected; trying again", "off");
      if (source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 3000);
      }
    });
    source.addEventListener("reset", reload);
    let first = true;
    source.addEventListener("hello", () => {
      if (first) reload();
      first = false;
    });
    for (const [kind, handle] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => {
        const { run, data } = JSON.parse(event.data);
        loading = loading.then(() => handle(run, data));
      });
    }
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}
