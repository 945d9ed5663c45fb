// What is wrong with how a panel lies on the page, in words; nothing where a reader can see all of it.
window.layout = {
  // Every piece of text that can be seen: its words, where it lies, and the element it belongs to.
  texts(panel) {
    const found = [];
    const walk = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
    for (let node; (node = walk.nextNode()); ) {
      const element = node.parentElement;
      const words = node.textContent.trim();
      if (!words || element.closest("style, script, option, .hoverlayer, .MathJax, [aria-hidden=true] i")) continue;
      if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      const whole = element.closest("svg text");
      const range = document.createRange();
      range.selectNodeContents(node);
      const boxes = whole ? [whole.getBoundingClientRect()] : [...range.getClientRects()];
      if (whole && found.some(({ owner }) => owner === whole)) continue;
      for (const box of boxes) {
        if (box.width < 1 || box.height < 1) continue;
        found.push({ words: (whole ?? element).textContent.trim().slice(0, 40), box, owner: whole ?? element, svg: Boolean(whole) });
      }
    }
    return found;
  },

  // Letters are lower than their boxes, and a subscript's box reaches into its neighbours'.
  overlap(one, other) {
    const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    return across > 2 && down > 0.3 * Math.min(one.height, other.height);
  },

  faults(panel) {
    const said = [];
    const texts = layout.texts(panel);
    texts.forEach((one, n) => {
      for (const other of texts.slice(n + 1)) {
        if (one.owner === other.owner || one.owner.contains(other.owner) || other.owner.contains(one.owner)) continue;
        if (layout.overlap(one.box, other.box)) said.push(`“${one.words}” lies over “${other.words}”`);
      }
      const inside = one.svg ? one.owner.closest(".main-svg, svg").getBoundingClientRect() : panel.getBoundingClientRect();
      for (const side of ["left", "top"]) if (one.box[side] < inside[side] - 2) said.push(`“${one.words}” is outside, ${side}`);
      for (const side of ["right", "bottom"]) if (one.box[side] > inside[side] + 2) said.push(`“${one.words}” is outside, ${side}`);
      for (let around = one.owner; around !== panel; around = around.parentElement) {
        const { overflowX, overflowY } = getComputedStyle(around);
        const frame = around.getBoundingClientRect();
        const cut = (overflow, low, high) => overflow !== "visible" && (one.box[low] < frame[low] - 2 || one.box[high] > frame[high] + 2);
        if (around.tagName !== "svg" && (cut(overflowX, "left", "right") || cut(overflowY, "top", "bottom")))
          said.push(`“${one.words}” is cut by ${around.className.baseVal ?? around.className}`);
      }
    });
    for (const element of [panel, ...panel.querySelectorAll("*")])
      if (/auto|scroll/.test(getComputedStyle(element).overflowX) && element.scrollWidth > element.clientWidth + 1 && element.clientWidth)
        said.push(`a scrollbar under ${element.className}`);
    const output = panel.closest(".jp-OutputArea-output");
    if (output && output.scrollWidth > output.clientWidth + 1) {
      const right = output.getBoundingClientRect().right + 1;
      const far = [...panel.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > right).pop();
      said.push(`the panel is wider than its cell: ${far?.outerHTML.slice(0, 150)}`);
    }
    return [...new Set(said)];
  },

  // Whether figures have come to fit their places, at the sizes that the style sheet gives them.
  settled() {
    return [...document.querySelectorAll(".glora-panel .glora-figure")].every((place) => {
      const drawn = place.querySelector(".main-svg");
      if (place.checkVisibility() && drawn && place.querySelector(".js-plotly-plot").clientHeight < 40) return false;
      return !place.checkVisibility() || !drawn || Math.abs(drawn.getBoundingClientRect().width - place.getBoundingClientRect().width) < 3;
    });
  },

  // From the top of the panel to the bottom of its main picture.
  reach(panel) {
    const pictures = [...panel.querySelectorAll(".glora-picture :is(.glora-figure, .glora-cut-body, .glora-trials-body)")];
    return Math.max(...pictures.map((picture) => picture.getBoundingClientRect().bottom)) - panel.getBoundingClientRect().top;
  },
};
