// Undo and redo by key, a copy of the panel's state, and the state that a link brought. `element` is the output that
// this runs in, which lies in the panel.

// The address that the page was loaded with: JupyterLab soon takes the query out of the present one.
const loaded = () => new URL(performance.getEntriesByType("navigation")[0]?.name ?? location.href);
const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
  .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const decode = (text) => {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
};

// One listener for all panels, before JupyterLab's own. Where text is written, the keys are the text's. A button that
// is pressed and can then be pressed no more loses the focus to the page: the panel that had it last has it still.
const WRITTEN = "input:not([type=checkbox], [type=radio]), textarea, [contenteditable=true]";
const panelOf = ({ target }) => target.closest?.(".glora-panel");
const keys = (event) => {
  const panel = event.target === document.body ? document.body.gloraLabLast : panelOf(event);
  const key = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
  if (!panel || !key || event.altKey || !(event.ctrlKey || event.metaKey) || event.target.closest(WRITTEN)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  panel.querySelector(`.glora-${key}`)?.click();
};

// Without https there is no clipboard to write to, but what is selected can be copied.
const copy = async (text, shown) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(shown);
    return document.execCommand("copy");
  }
};

// The notebook's address with the state, where the page has one that can be opened again.
const address = ({ state, binder }) => {
  const query = `glora_lab=${encode(state)}`;
  const [, base, room, path] = location.pathname.match(/^(.*?)\/(lab|notebooks|voila\/render)\/(.+\.ipynb)$/) ?? [];
  if (!path) return null;
  const notebook = path.replace(/^(workspaces\/[^/]+\/)?tree\//, "");
  if (binder) return `${binder}?urlpath=${encodeURIComponent(`lab/tree/${notebook}?${query}`)}`;
  const home = base.replace(/\/user\/[^/]+$/, "/hub/user-redirect");
  return `${location.origin}${home}/${room}/${room === "lab" ? "tree/" : ""}${notebook}?${query}`;
};

const copyAll = async (details) => {
  const code = details.querySelector("pre");
  const says = details.querySelector(".glora-copied");
  const link = address(details.dataset);
  const place = details.querySelector(".glora-address");
  if (link) {
    const button = Object.assign(document.createElement("button"), { className: "jupyter-button", textContent: "Copy" });
    const anchor = Object.assign(document.createElement("a"), { href: link, textContent: link });
    button.addEventListener("click", async () => { says.textContent = await copy(link, anchor) ? "The link is copied." : ""; });
    place.replaceChildren("As a link to this notebook: ", button, anchor);
    place.hidden = false;
  }
  says.textContent = await copy(code.textContent, code) ? "The code is copied." : "";
};

// A link is taken once, by the panel that a cell makes. One that was there before the page (by the kernel's clock and the
// page's) takes it as well, and leaves it to the one that its cell makes next.
const takeLink = (panel, looks) => {
  const brought = loaded().searchParams.get("glora_lab");
  const taken = window.gloraLabTaken;
  if (!brought || (taken && !taken.before)) return;
  const details = panel.querySelector(".glora-copy");
  const place = panel.querySelector(".glora-brought input");
  if (!details || !place) return looks && setTimeout(takeLink, 100, panel, looks - 1);
  const [cell, before] = [panel.closest(".jp-Cell"), Number(details.dataset.made) < performance.timeOrigin];
  if (taken && (before || taken.cell !== cell)) return;
  let state = brought;
  try {
    state = decode(brought);
    if (JSON.parse(state).panel !== details.dataset.panel) return;
  } catch { /* no state: the panel says so */ }
  window.gloraLabTaken = { cell, before };
  place.value = state;
  place.dispatchEvent(new Event("change", { bubbles: true }));
};

const begin = (looks) => {
  const panel = element.closest(".glora-panel");
  if (!panel) return looks && setTimeout(begin, 100, looks - 1); // not on the page yet
  if (!window.gloraLabKeys) {
    window.addEventListener("keydown", window.gloraLabKeys = keys, true);
    window.addEventListener("focusin", (event) => { document.body.gloraLabLast = panelOf(event); });
  }
  panel.addEventListener("toggle", ({ target }) => {
    if (target.matches(".glora-copy[open]")) copyAll(target);
  }, true);
  takeLink(panel, 600);
};

begin(600);
