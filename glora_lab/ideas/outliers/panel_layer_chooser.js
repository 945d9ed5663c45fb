// The atlas of outliers: two maps of layers, of which one is chosen, by a click or with the arrow keys. Colours and
// words come from Python; here cells are laid out. The chosen layer is framed in both maps, and the keyboard's focus
// stays in the map where it is. Cells too narrow for their texts are colours alone, and pointing at one tells it.

const make = (tag, name, parent, text = "") => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
};

const STEPS = {
  ArrowUp: ([row, column]) => [[row, column], [-1, 0]],
  ArrowDown: ([row, column]) => [[row, column], [1, 0]],
  ArrowLeft: ([row, column]) => [[row, column], [0, -1]],
  ArrowRight: ([row, column]) => [[row, column], [0, 1]],
  Home: ([row]) => [[row, -1], [0, 1]],
  End: ([row], wide) => [[row, wide], [0, -1]],
  PageUp: ([, column]) => [[-1, column], [1, 0]],
  PageDown: ([, column], wide, tall) => [[tall, column], [-1, 0]],
};

const ROOM = 30; // pixels that the texts of a cell need

function render({ model, el }) {
  const root = make("div", "glora-atlas", el);
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys for its own cells
  const title = make("p", "glora-atlas-title", root);
  const body = make("div", "glora-atlas-body", root);
  const scale = make("div", "glora-atlas-scale", root);
  scale.setAttribute("aria-hidden", "true");
  const says = make("p", "glora-atlas-says", root);
  let cells = []; // of every map: [row][column], null where there is no layer

  const choose = (at) => {
    model.set("chosen", at);
    model.save_changes();
  };

  const build = ({ rows, columns, headings, maps }) => {
    body.replaceChildren();
    cells = maps.map((lines, n) => {
      const map = make("div", "glora-atlas-map", body);
      make("p", "glora-atlas-heading", map, headings[n]);
      const grid = make("div", "glora-atlas-grid", map);
      grid.setAttribute("role", "grid");
      grid.setAttribute("aria-label", `${headings[n]}; layers, blocks down and modules across`);
      grid.style.gridTemplateColumns = `auto repeat(${columns.length}, minmax(0, 1fr))`;
      const found = lines.map((line, row) => {
        const across = make("div", "glora-atlas-row", grid);
        across.setAttribute("role", "row");
        make("span", "glora-atlas-block", across, rows[row]).setAttribute("role", "rowheader");
        return line.map((cell) => {
          const one = make("div", "glora-atlas-cell", across);
          one.setAttribute("role", "gridcell");
          if (!cell) return null;
          for (const text of cell.text) make("span", "", one, text);
          Object.assign(one.style, { background: cell.color || "transparent", color: cell.color ? cell.ink : "inherit" });
          one.setAttribute("aria-label", cell.words);
          one.title = cell.words;
          one.dataset.layer = cell.at;
          one.addEventListener("click", () => {
            one.focus();
            choose(cell.at);
          });
          return { one, at: cell.at };
        });
      });
      const names = make("div", "glora-atlas-row", grid);
      names.setAttribute("aria-hidden", "true"); // each cell says its layer
      make("span", "", names);
      for (const column of columns) make("span", "glora-atlas-module", names, column);
      grid.addEventListener("keydown", (event) => press(event, n));
      return found;
    });
  };

  const place = (n) => {
    const chosen = model.get("chosen");
    for (const [row, line] of cells[n].entries())
      for (const [column, cell] of line.entries()) if (cell?.at === chosen) return [row, column];
    return [0, 0];
  };

  // From the chosen layer on, over places where there is none.
  const press = (event, n) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    const map = cells[n];
    let [[row, column], [down, across]] = step(place(n), map[0].length, map.length);
    do [row, column] = [row + down, column + across];
    while (map[row]?.[column] === null);
    if (map[row]?.[column]) choose(map[row][column].at);
  };

  const mark = () => {
    const chosen = model.get("chosen");
    for (const map of cells) {
      const focused = map.flat().some((cell) => cell?.one === document.activeElement);
      for (const cell of map.flat()) {
        if (!cell) continue;
        const here = cell.at === chosen;
        cell.one.setAttribute("aria-selected", String(here));
        cell.one.tabIndex = here ? 0 : -1;
        if (here && focused) cell.one.focus();
      }
    }
    root.dataset.chosen = chosen;
  };

  const fit = () => {
    const cell = root.querySelector(".glora-atlas-cell");
    if (cell?.offsetWidth) root.classList.toggle("glora-atlas-tight", cell.offsetWidth < ROOM);
  };

  const paint = () => {
    const atlas = model.get("atlas");
    if (!atlas.maps) return;
    title.replaceChildren();
    for (const line of atlas.finding) make("span", "", title, line);
    says.textContent = atlas.says;
    build(atlas);
    const bar = make("div", "glora-atlas-bar", (scale.replaceChildren(), scale));
    bar.style.background = `linear-gradient(to right, ${atlas.scale.colors.join(", ")})`;
    const marks = make("div", "glora-atlas-marks", scale);
    for (const [along, text, always] of atlas.scale.marks)
      make("span", always ? "" : "glora-atlas-between", marks, text).style.left = `${100 * along}%`;
    mark();
    fit();
  };

  const resized = new ResizeObserver(fit);
  resized.observe(body);
  model.on("change:atlas", paint);
  model.on("change:chosen", mark);
  paint();
  return () => {
    resized.disconnect();
    model.off("change:atlas", paint);
    model.off("change:chosen", mark);
  };
}

export default { render };
