// A slider of ipywidgets has a label beside it, and its handle has no name: a screen reader says "slider" and a
// number. Here every handle in the panel is given the words of its label, those that come later too.

function render({ el }) {
  let observer;

  const name = (panel) => {
    for (const handle of panel.querySelectorAll(".noUi-handle")) {
      const label = handle.closest(".widget-slider, .widget-hslider, .widget-vslider")?.querySelector(".widget-label");
      const words = label?.textContent;
      if (words && handle.getAttribute("aria-label") !== words) handle.setAttribute("aria-label", words);
    }
  };

  const begin = () => {
    const panel = el.closest(".glora-panel");
    if (!panel) return void requestAnimationFrame(begin); // not on the page yet
    observer = new MutationObserver(() => name(panel));
    observer.observe(panel, { childList: true, subtree: true, characterData: true });
    name(panel);
  };

  requestAnimationFrame(begin);
  return () => observer?.disconnect();
}

export default { render };
