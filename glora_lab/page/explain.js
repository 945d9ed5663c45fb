// Whatever of a panel is pointed at, or reached with the keyboard, explains itself in one sentence: a title, of the thing
// itself, of what it is in, or of the label beside it (where ipywidgets puts a control's, or forgets it: then it is in
// the name of a class, "says:…"). The browser would show it to a pointer alone, and late. Within an equation the arrow
// keys lead from symbol to symbol.
const PANEL = ".glora-panel, .glora-equation";
const REST = 250, LINGER = 150; // milliseconds: before it is shown to a pointer, and until it is gone

const begin = () => {
  const tip = Object.assign(document.createElement("div"), { id: "glora-tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  tip.setAttribute("popover", "manual"); // above everything, a panel that fills the window too
  document.body.append(tip);
  let shown = null, waiting = 0, quiet = null;

  const titleOf = (node) => {
    const words = node?.getAttribute("title") ?? "";
    return words === "null" || words === "undefined" ? "" : words;
  };
  // The words that the node has for itself, and whose title they are.
  const saidBy = (node) => {
    const own = [...node.classList].find((name) => name.startsWith("says:"));
    if (own) return [own.slice(5).replaceAll("\u00a0", " "), null];
    const label = node.matches(".jupyter-widgets") && node.querySelector(":scope > .widget-label");
    const titled = [label, node].find((one) => one && titleOf(one));
    return titled && [titleOf(titled), titled];
  };
  // What the node is about, and all that explains it: an option has the words of its group before its own.
  const explained = (node) => {
    const option = node.closest(".widget-toggle-buttons button");
    let about = null;
    const said = [];
    for (let at = node; at && !at.matches(PANEL); at = at.parentElement) {
      const words = saidBy(at);
      if (!words) continue;
      about ??= option ?? at;
      said.unshift(words);
      if (!option || at.matches(".widget-toggle-buttons")) break;
    }
    return about && [about, said];
  };

  const hide = () => {
    clearTimeout(waiting);
    if (!shown) return;
    for (const [words, node] of shown.said) if (node && !node.hasAttribute("title")) node.setAttribute("title", words);
    shown.focused?.removeAttribute("aria-describedby");
    shown = null;
    if (tip.matches(":popover-open")) tip.hidePopover();
    tip.hidden = true;
  };
  const show = (about, said, focused) => {
    hide();
    tip.textContent = said.map(([words]) => words).join(" ");
    for (const [, node] of said) node?.removeAttribute("title"); // or the browser shows it a second time
    shown = { about, said, focused };
    focused?.setAttribute("aria-describedby", tip.id);
    tip.hidden = false;
    tip.showPopover?.();
    const place = about.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const above = place.top - own.height - 3; // where the code is, and not the controls that come next
    tip.style.top = `${above > 0 && !about.dataset.gloraKeys ? above : Math.min(place.bottom + 3, innerHeight - own.height - 3)}px`;
    tip.style.left = `${Math.max(4, Math.min(place.left, innerWidth - own.width - 8))}px`;
  };

  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType === "touch" || tip.contains(target)) return clearTimeout(waiting);
    const found = target.closest?.(PANEL) && explained(target);
    if (found && found[0] === quiet) return;
    quiet = null;
    if (shown && found?.[0] === shown.about) return clearTimeout(waiting);
    clearTimeout(waiting);
    if (shown?.focused) return; // the keyboard's stays
    if (found) waiting = setTimeout(() => show(...found), shown ? 0 : REST);
    else waiting = setTimeout(hide, LINGER);
  });
  document.addEventListener("pointerdown", ({ target }) => {
    quiet = (target.closest?.(PANEL) && explained(target)?.[0]) ?? null; // who works with a thing sees what is below it
    hide();
  }, true);
  document.addEventListener("focusin", ({ target }) => {
    const seen = target.closest?.(PANEL) && target.matches(":focus-visible");
    const found = seen && (target.dataset.gloraKeys ? [target, [[target.dataset.gloraKeys, null]]] : explained(target));
    if (found) show(...found, target);
    else if (shown?.focused) hide();
  });
  document.addEventListener("focusout", () => shown?.focused && hide());
  document.addEventListener("scroll", () => shown && !shown.focused && hide(), true);

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const symbol = event.target.closest?.(".glora-symbol"), step = STEPS[event.key];
    if (!symbol || !step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const all = [...symbol.closest(".glora-equation").querySelectorAll(".glora-symbol")];
    const next = all[Math.min(Math.max(all.indexOf(symbol) + step, 0), all.length - 1)];
    for (const one of all) one.tabIndex = one === next ? 0 : -1;
    next.focus();
  });
};

if (!document.getElementById("glora-tip")) begin();
