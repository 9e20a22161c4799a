// What all pages share: who is at work, what they decide, the theme.
// A decision is kept in this browser until the server says that it is on its disk: a server that is down, a page that
// is closed or a second tab loses none, and the client_id lets the log keep each once.
const OUTBOX = "vistag-outbox ", SEQ = "vistag-seq ";
const RETRY_MS = 2000, TOLD_MS = 6000, POLL_MS = 30;

const token = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const field = document.getElementById("reviewer");
let last = 0;

export const reviewer = () => field.value.trim();
export const askWho = () => {
  if (reviewer()) return true;
  tell("Say who you are first: the name stands beside each decision.");
  field.focus();
  return false;
};

let forgetting;
export const tell = (sentence) => {
  const told = document.getElementById("told");
  told.textContent = sentence;
  clearTimeout(forgetting);
  forgetting = setTimeout(() => { told.textContent = ""; }, TOLD_MS);
};

const waiting = () => Object.keys(localStorage).filter((key) => key.startsWith(OUTBOX)).sort();
const showWaiting = () => {
  const count = waiting().length;
  document.getElementById("waiting").textContent = count ? `${count} not yet saved` : "";
};

let sending = false;
const settled = new Map();

// One at a time and in order, so that what is taken back comes behind what it takes back.
const send = async () => {
  if (sending) return;
  sending = true;
  let again = 0;
  try {
    for (let keys = waiting(); keys.length; keys = waiting()) {
      const key = keys[0], { taken_back, ...decision } = JSON.parse(localStorage.getItem(key));
      if (taken_back) decision.undoes = Number(localStorage.getItem(SEQ + taken_back));
      const answer = await fetch("/api/decisions", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(decision),
      });
      if (answer.status === 429 || answer.status >= 500) throw new Error((await answer.json()).detail);
      const said = await answer.json();
      if (answer.ok) localStorage.setItem(SEQ + decision.client_id, said.seq);
      else tell(`This was not saved: ${said.detail}`);
      localStorage.removeItem(key);
      settled.get(decision.client_id)?.(answer.ok ? said : null);
      settled.delete(decision.client_id);
    }
  } catch (error) {
    tell(`The server does not answer; what you decide is kept here until it does. ${error.message}`);
    again = RETRY_MS;
  }
  if (again) await new Promise((resolve) => setTimeout(resolve, again));
  sending = false;
  showWaiting();
  if (again) send();
};

// What was decided, and a promise of the line of the log; null where the server refused it.
export const decide = (decision, client_id = token()) => {
  last = Math.max(last + 1, Date.now());
  localStorage.setItem(`${OUTBOX}${String(last).padStart(16, "0")} ${client_id}`, JSON.stringify({ ...decision, reviewer: reviewer(), client_id }));
  const saved = new Promise((resolve) => settled.set(client_id, resolve));
  showWaiting();
  send();
  return { client_id, saved };
};

export const allSaved = async () => {
  while (waiting().length) {
    send();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
};

// `of`: what decide() gave, or the seq of a decision.
export const undo = (of, picture) => {
  const about = typeof of === "number" ? { undoes: of } : { taken_back: of.client_id };
  return decide({ ...picture, verdict: "undo", ...about });
};

export const data = () => JSON.parse(document.getElementById("data").textContent);

// A key that a page listens to; not while something is written, and not with the keys of the browser.
export const onKey = (act) => addEventListener("keydown", (event) => {
  const writes = event.target.closest("input:not([type=checkbox]):not([type=range]), textarea, select, dialog[open]");
  if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
  if (act(event.key.length === 1 ? event.key.toLowerCase() : event.key, event)) event.preventDefault();
});

// A field in which a concept of the vocabulary is found by typing. `chosen` is called with {id, label, missed}: `missed`
// are the words that were typed before and that nothing is called, "" where there were none. With `words` those can be
// kept instead, and come as {words}.
export const chooseConcept = (input, list, chosen, { words: keepsWords = false } = {}) => {
  let found = [], at = -1, asked = 0, missed = "";
  const show = () => {
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    list.replaceChildren(...found.map((concept, n) => {
      const item = document.createElement("li");
      item.role = "option";
      item.id = `${list.id}-${n}`;
      item.setAttribute("aria-selected", String(n === at));
      item.textContent = concept.words ? `Keep “${concept.words}”` : concept.label;
      const facet = document.createElement("small");
      facet.textContent = concept.words ? " no concept is called so" : ` ${concept.facet}`;
      item.append(facet);
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(n); });
      return item;
    }));
    if (at >= 0) input.setAttribute("aria-activedescendant", `${list.id}-${at}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const take = (n) => {
    const concept = found[n];
    found = [];
    at = -1;
    show();
    input.value = concept.words ?? concept.label;
    chosen({ missed, ...concept });
    missed = "";
  };
  input.addEventListener("input", async () => {
    const mine = ++asked, words = input.value.trim();
    const answer = words ? await (await fetch(`/api/concepts?words=${encodeURIComponent(words)}`)).json() : [];
    if (mine !== asked) return;
    if (!words) missed = "";
    else if (!answer.length && !missed.startsWith(words)) missed = words; // shorter ones are on the way back
    found = !answer.length && words && keepsWords ? [{ words }] : answer;
    at = found.length && !found[0].words ? 0 : -1; // words are kept on purpose: arrow down, or a click
    show();
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) { at = (at + step + found.length) % found.length; show(); event.preventDefault(); }
    if (event.key === "Enter" && at >= 0) { event.preventDefault(); take(at); }
    if (event.key === "Escape" && found.length) { event.stopPropagation(); found = []; show(); }
  });
  input.addEventListener("blur", () => { found = []; at = -1; show(); });
};

field.value = localStorage.getItem("reviewer") || "";
field.addEventListener("input", () => localStorage.setItem("reviewer", reviewer()));
field.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === "Escape") field.blur(); });
document.getElementById("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement, now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
showWaiting();
if (waiting().length) send();
