// What the page does for a panel by itself. `element` is the output that this runs in, which lies in the panel.

// A slider of ipywidgets has a label beside it, and its handle has no name: a screen reader says "slider" and a
// number. Here every handle is given the words of its label, the button of a fold says whether it is open, and of
// several buttons each whether it is pressed, which a shade alone shows. A label without a tooltip has the title "null":
// it gets none. Then others are told that the panel is as it will be (light.js).
const tidy = (panel) => {
  for (const handle of panel.querySelectorAll(".noUi-handle")) {
    const words = handle.closest(".widget-slider, .widget-hslider, .widget-vslider")?.querySelector(".widget-label")?.textContent;
    if (words && handle.getAttribute("aria-label") !== words) handle.setAttribute("aria-label", words);
  }
  for (const fold of panel.querySelectorAll("button.glora-fold")) {
    const open = String(fold.classList.contains("mod-active"));
    if (fold.getAttribute("aria-expanded") !== open) fold.setAttribute("aria-expanded", open);
  }
  for (const button of panel.querySelectorAll(".widget-toggle-buttons button"))
    button.setAttribute("aria-pressed", String(button.classList.contains("mod-active")));
  for (const node of panel.querySelectorAll("[title='null'], [title='undefined'], [title='']")) node.removeAttribute("title");
  panel.dispatchEvent(new Event("glora-drawn", { bubbles: true }));
};

// plotly asks for its place's width when the window changes, and not when the panel does.
const tellFigures = (panel) => {
  let width = 0;
  new ResizeObserver(() => {
    const now = panel.querySelector(".glora-figure")?.clientWidth ?? 0;
    if (width && now && now !== width) window.dispatchEvent(new Event("resize"));
    width = now || width;
  }).observe(panel);
};

// A popover stands above the whole page whatever contains it, and stays where it is in the document: JupyterLab and
// ipywidgets do not notice. Escape, or the button again, brings the page back, and the focus to the button.
const present = (panel) => {
  const button = panel.querySelector(".glora-present");
  if (!button || !panel.showPopover) return button?.remove();
  const open = () => panel.matches(":popover-open");
  const say = () => button.setAttribute("aria-pressed", String(open()));
  const leave = () => {
    panel.hidePopover();
    panel.removeAttribute("popover");
    say();
    button.focus();
  };
  const escape = (event) => {
    if (event.key !== "Escape" || !open()) return;
    event.preventDefault();
    event.stopPropagation();
    leave();
  };
  const stay = ({ target }) => open() && !panel.contains(target) && button.focus();
  button.addEventListener("click", () => {
    if (open()) return leave();
    panel.setAttribute("popover", "manual");
    panel.showPopover();
    say();
    button.focus();
  });
  window.addEventListener("keydown", escape, true);
  document.addEventListener("focusin", stay);
  say();
};

const begin = (looks) => {
  const panel = element.closest(".glora-panel");
  if (panel) {
    let waiting = false;
    const soon = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => { waiting = false; tidy(panel); }, 200); // a picture changes the panel hundreds of times
    };
    new MutationObserver(soon).observe(panel, { childList: true, subtree: true, attributeFilter: ["class"] });
    tidy(panel);
    tellFigures(panel);
    present(panel);
  } else if (looks) setTimeout(begin, 100, looks - 1); // not on the page yet
};

begin(600);
