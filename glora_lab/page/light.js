// What belongs together lights up together. A path (A to E): its term in the equation, its row of controls and
// parameters, its heatmap, its bars and lines, whichever of them is pointed at or has the focus. A channel (i of the
// inputs, o of the outputs): its column or row in every map of the panel, from the map that is pointed at, from a slider
// of channels, or with the arrow keys in a picture.
//
// A page's element names its path as data-path or as class glora-path-A, a slider its channel as class glora-channel-i;
// a trace says in `meta` which path it shows and which channels lie along x and y. Marks lie over the picture and change
// nothing in it: plotly itself is not in reach here.
const AXES = { i: "input channel", o: "output channel" };
const NOTHING = {};

const begin = () => {
  const wired = new WeakSet();
  let lit = { panel: null, what: NOTHING };

  const traces = (graph) => graph._fullData?.filter((trace) => trace.meta && trace.visible === true) ?? [];
  const graphs = (panel) => [...panel.querySelectorAll(".js-plotly-plot")].filter((graph) => graph._fullLayout);
  const axesOf = ({ _fullLayout }, { xaxis = "x", yaxis = "y" }) =>
    [xaxis, yaxis].map((name) => _fullLayout[`${name[0]}axis${name.slice(1)}`]);

  const pathOf = (node) => {
    const at = node.closest("[data-path], [class*='glora-path-']");
    return at?.dataset.path ?? at?.className.match(/glora-path-(\w+)/)[1];
  };
  const channelOf = (node) => {
    const slider = node.closest("[class*='glora-channel-']");
    const value = Number(slider?.querySelector("[aria-valuenow]")?.getAttribute("aria-valuenow") ?? NaN);
    return Number.isNaN(value) ? null : { [slider.className.match(/glora-channel-(\w)/)[1]]: value };
  };
  const meantBy = (node) => {
    const trace = node.closest(".legend .traces")?.__data__?.[0]?.trace;
    const path = trace?.meta?.path ?? pathOf(node);
    return path ? { path } : channelOf(node) ?? NOTHING;
  };

  const mark = (graph, { left, top, width, height }) => {
    const box = Object.assign(document.createElement("div"), { className: "glora-mark" });
    Object.assign(box.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    graph.querySelector(".svg-container").append(box);
  };
  // Where the channel lies along an axis, at least three pixels wide.
  const band = (axis, at) => {
    const [one, other] = [axis.c2p(at - 0.5), axis.c2p(at + 0.5)].sort((a, b) => a - b);
    const size = Math.max(other - one, 3);
    return [axis._offset + (one + other - size) / 2, size];
  };
  const paint = () => {
    const { panel, what } = lit;
    for (const box of document.querySelectorAll(".glora-mark")) box.remove();
    for (const node of document.querySelectorAll(".glora-lit, .glora-dim")) node.classList.remove("glora-lit", "glora-dim");
    if (!panel?.isConnected) return;
    if (what.path)
      for (const node of panel.querySelectorAll(`[data-path="${what.path}"], .glora-path-${what.path}`))
        if (!node.parentElement.closest(".glora-lit")) node.classList.add("glora-lit");
    for (const graph of graphs(panel)) {
      const shown = traces(graph), done = new Set();
      for (const trace of shown) {
        const [x, y] = axesOf(graph, trace), { meta } = trace;
        if (what.path && trace.type === "heatmap" && meta.path === what.path)
          mark(graph, { left: x._offset - 2, top: y._offset - 2, width: x._length + 4, height: y._length + 4 });
        for (const [axis, across] of [["x", x], ["y", y]]) {
          const place = `${x._id}${y._id}${axis}`, at = what[meta[axis]];
          if (at === undefined || done.has(place)) continue;
          done.add(place);
          const [start, size] = band(across, at);
          mark(graph, axis === "x"
            ? { left: start, top: y._offset, width: size, height: y._length }
            : { left: x._offset, top: start, width: x._length, height: size });
        }
      }
      if (what.path && shown.some((trace) => trace.type !== "heatmap" && trace.meta.path === what.path))
        for (const node of graph.querySelectorAll(".barlayer .trace, .scatterlayer .trace, .legend .traces")) {
          const path = node.__data__?.[0]?.trace?.meta?.path;
          node.classList.toggle("glora-dim", Boolean(path) && path !== what.path);
        }
    }
  };
  const light = (panel, what) => {
    if (what === lit.what && panel === lit.panel) return;
    if (JSON.stringify(what) === JSON.stringify(lit.what) && panel === lit.panel) return;
    lit = { panel, what };
    paint();
  };

  const wire = (graph) => {
    if (!graph.on) return;
    if (!wired.has(graph)) listen(graph);
    if (graph.tabIndex === 0 || !traces(graph).some(({ meta }) => meta.x || meta.y)) return;
    graph.tabIndex = 0;
    graph.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys for its own cells
    graph.setAttribute("role", "group");
    graph.setAttribute("aria-label", "picture");
    graph.dataset.gloraKeys = "The arrow keys mark a channel in every map; Escape takes the mark away.";
  };
  const listen = (graph) => {
    wired.add(graph);
    const panel = graph.closest(".glora-panel");
    graph.on("plotly_hover", ({ points: [{ data, x, y }] }) => {
      const { path, ...along } = data.meta ?? {};
      const channels = Object.entries({ x, y }).filter(([axis]) => along[axis]).map(([axis, at]) => [along[axis], at]);
      light(panel, { ...(path && { path }), ...Object.fromEntries(channels) });
    });
    graph.on("plotly_unhover", () => light(panel, NOTHING));
    graph.on("plotly_afterplot", () => panel === lit.panel && paint());
  };

  const KEYS = { ArrowRight: ["i", 1], ArrowLeft: ["i", -1], ArrowDown: ["o", 1], ArrowUp: ["o", -1] };
  const walk = (graph, key) => {
    const along = traces(graph).flatMap(({ meta }) => [meta.x, meta.y]);
    let [axis, step] = KEYS[key];
    if (!along.includes(axis)) axis = axis === "i" ? "o" : "i"; // a picture of one kind of channel alone
    const one = traces(graph).find(({ meta }) => meta.x === axis || meta.y === axis);
    const [x, y] = axesOf(graph, one), ends = (one.meta.x === axis ? x : y).range.map(Number).sort((a, b) => a - b);
    const at = Math.min(Math.max((lit.what[axis] ?? Math.ceil(ends[0]) - step) + step, Math.ceil(ends[0])), Math.floor(ends[1]));
    const { path, ...channels } = lit.what;
    light(graph.closest(".glora-panel"), { ...channels, [axis]: at });
    say(graph, axis, at);
  };
  // In words what the lines and bars over these channels are there.
  const say = (graph, axis, at) => {
    const lines = traces(graph).filter(({ meta, type }) => type !== "heatmap" && meta.x === axis);
    const told = lines.map(({ name, x, y }) => {
      const value = y[x ? [...x].indexOf(at) : at];
      return `${name.replace(/<[^>]*>/g, "")} ${Number(value).toPrecision(3)}`;
    });
    const tip = document.getElementById("glora-tip");
    if (tip && !tip.hidden) tip.textContent = `${AXES[axis]} ${at}${told.length ? `: ${told.join(", ")}` : ""}`;
  };

  document.addEventListener("pointerover", ({ target }) => {
    const panel = target.closest?.(".glora-panel");
    const graph = target.closest?.(".js-plotly-plot");
    if (panel && graph) wire(graph);
    const what = panel ? meantBy(target) : NOTHING;
    if (what === NOTHING && (graph || panel?.contains(document.activeElement))) return; // plotly tells; a focus stays
    light(panel ?? lit.panel, what);
  });
  document.addEventListener("focusin", ({ target }) => {
    const panel = target.closest?.(".glora-panel");
    if (panel) light(panel, meantBy(target));
    else light(lit.panel, NOTHING);
  });
  document.addEventListener("keydown", (event) => {
    const graph = event.target.matches?.(".glora-panel .js-plotly-plot") && event.target;
    if (event.key === "Escape") {
      if (graph && lit.what !== NOTHING) event.stopPropagation(); // or JupyterLab leaves the picture at once
      light(lit.panel, NOTHING);
    }
    if (!graph || !KEYS[event.key] || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    walk(graph, event.key);
  }, true);
  document.addEventListener("keyup", ({ target }) => {
    const panel = target.closest?.(".glora-panel"), what = panel && channelOf(target); // its slider has moved
    if (what) light(panel, what);
  });

  // Pictures come and go as controls move: each is made ready, and what was lit is lit in it.
  document.addEventListener("glora-drawn", ({ target }) => {
    graphs(target).forEach(wire);
    if (target === lit.panel && lit.what !== NOTHING && !target.querySelector(".glora-mark, .glora-lit")) paint();
  });
};

if (!window.gloraLight) begin();
window.gloraLight = true;
