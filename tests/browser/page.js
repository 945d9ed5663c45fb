// The half of the fixture that lives in JupyterLab's page. Nothing here waits: what takes time is started and
// leaves its outcome in a field, and Python polls the field, because page.evaluate() itself never times out.
window.lab = {
  errors: [], // swallowed by the kernel's machinery, in the order they came
  ran: null, // outcome of the last run-all: null while it runs
  answers: {}, // outcome of each question to the kernel

  panel: () => window.jupyterapp.shell.currentWidget,
  kernel: () => lab.panel().sessionContext.session.kernel,

  // data-status=idle comes too early: the context, the session and the kernel have to be there as well.
  ready() {
    const panel = window.jupyterapp?.shell.currentWidget;
    const session = panel?.sessionContext;
    return Boolean(
      panel?.context?.isReady && session?.isReady && panel.content.widgets.length &&
      session.kernelDisplayStatus === "idle" && session.session?.kernel?.connectionStatus === "connected"
    );
  },

  // An error in a callback or in a thread shows nowhere in the page; it only passes by on iopub.
  listen() {
    lab.kernel().iopubMessage.connect((_, message) => {
      const content = message.content;
      if (message.header.msg_type === "error")
        lab.errors.push([`${content.ename}: ${content.evalue}`, ...content.traceback].join("\n"));
      if (message.header.msg_type === "stream" && content.name === "stderr" && /Traceback|Exception in/.test(content.text))
        lab.errors.push(content.text);
    });
  },

  runAll: () => lab.run("notebook:run-all-cells"),

  // Every cell down to the first code cell with this text.
  runTo(text) {
    const notebook = lab.panel().content;
    const last = notebook.widgets.findIndex(({ model }) => model.type === "code" && model.sharedModel.source.includes(text));
    if (last < 0) return (lab.ran = `no code cell with ${text}`);
    notebook.activeCellIndex = 0;
    notebook.extendContiguousSelectionTo(last);
    return lab.run("notebook:run-cell");
  },

  run(command) {
    lab.ran = null;
    const why = () => `a cell failed, or JupyterLab would not run it: ${document.querySelector(".jp-Dialog")?.innerText}`;
    window.jupyterapp.commands.execute(command).then(
      (good) => (lab.ran = good === false ? why() : "ok"),
      (error) => (lab.ran = String(error))
    );
  },

  save() {
    lab.saved = false;
    window.jupyterapp.commands.execute("docmanager:save").then(() => (lab.saved = true));
  },

  ask(id, code) {
    const future = lab.kernel().requestExecute({ code, store_history: false, stop_on_error: false });
    const answer = { out: "", error: null };
    future.onIOPub = ({ header, content }) => {
      if (header.msg_type === "stream" && content.name === "stdout") answer.out += content.text;
      if (header.msg_type === "error") answer.error = `${content.ename}: ${content.evalue}`;
    };
    future.done.then(
      () => (lab.answers[id] = answer),
      (error) => (lab.answers[id] = { ...answer, error: String(error) })
    );
  },

  restart() {
    lab.restarted = false;
    const done = () => (lab.restarted = true);
    lab.panel().sessionContext.restartKernel().then(done, done);
  },

  shutDown() {
    lab.down = false;
    const done = () => (lab.down = true);
    lab.panel().sessionContext.shutdown().then(done, done);
  },

  // What a plotly graph holds, typed arrays as plain lists, and its title as a reader finds it.
  plots() {
    const plain = (value) =>
      ArrayBuffer.isView(value) ? Array.from(value) : Array.isArray(value) ? value.map(plain) : value;
    return [...document.querySelectorAll(".js-plotly-plot")].map((graph) => ({
      title: (graph.closest(".glora-slot")?.querySelector(".glora-finding")?.innerText ?? graph.querySelector(".gtitle")?.textContent) ?? "",
      traces: (graph._fullData ?? []).map(({ type, name, x, y, z }) => ({ type, name, x: plain(x), y: plain(y), z: plain(z) })),
    }));
  },

  // What a reader sees of the graph that has this word in its title, or its text. Nothing while it is being made.
  picture: (word) => () => {
    const graph = [...document.querySelectorAll(".js-plotly-plot")].find((graph) => (graph.closest(".glora-slot") ?? graph).textContent.includes(word));
    return graph?.querySelector(".cartesianlayer > *, .infolayer > *") ? [graph, graph.querySelector(".main-svg").innerHTML] : null;
  },

  // What the first element of this selector holds.
  content: (selector) => () => [document.querySelector(selector)?.innerHTML],

  // Press each key on a slider's handle, or take the option next to a menu's, one movement of a hand at a time since a
  // burst is drawn ten times a second, and note the milliseconds from there to the first frame that shows something else.
  async press(control, keys, shown, rest = 400) {
    lab.took = [];
    lab.moves = []; // when each began and when its answer was there, in milliseconds of the wall clock
    for (const key of keys) {
      await new Promise((rested) => setTimeout(rested, rest));
      const [before, began] = [shown(), performance.now()];
      const same = (now) => !now || now.every((part, at) => part === before?.[at]);
      if (control.matches("select")) {
        control.selectedIndex = (control.selectedIndex + (key === "ArrowRight" ? 1 : control.length - 1)) % control.length;
        control.dispatchEvent(new Event("change", { bubbles: true }));
      } else control.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      let frame;
      do frame = await new Promise(requestAnimationFrame);
      while (same(shown()));
      lab.took.push(frame - began);
      lab.moves.push([began, performance.now()].map((at) => performance.timeOrigin + at));
    }
  },

  // The last of the graphs of this selector in an element, and plotly's own list of what is drawn in it, another at each
  // picture; or what the element holds where it is none.
  last: (within, selector) => () => {
    const found = [...within.querySelectorAll(selector)].at(-1);
    if (!found?.matches(".js-plotly-plot")) return found ? [found.innerHTML] : null;
    return found.querySelector(".cartesianlayer > *, .infolayer > *") ? [found, found._fullData] : null;
  },

  // From now on, of every message between page and kernel: its own id or whose answer it is, the traits of a widget that
  // it sets, and when each side had it.
  hearMessages() {
    lab.messages = [];
    lab.kernel().anyMessage.connect((_, { msg: { header, parent_header, content }, direction }) =>
      lab.messages.push({
        direction, type: header.msg_type, of: direction === "send" ? header.msg_id : parent_header?.msg_id,
        sets: Object.keys(content.data?.state ?? {}), sent: header.date, page: performance.timeOrigin + performance.now(),
      })
    );
  },

  luminance(color) {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = color.match(/[\d.]+/g).map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  },
  contrast: (one, other) => Math.max(lab.luminance(one), lab.luminance(other)) / Math.min(lab.luminance(one), lab.luminance(other)),

  // Texts of figures with less than 4.5:1 to the page, and how many were looked at. Over cells and bars lies no page.
  faint(selector) {
    const page = getComputedStyle(document.querySelector(".jp-Notebook")).backgroundColor;
    const written = (one) => [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const texts = [...document.querySelectorAll(`${selector} .js-plotly-plot :is(text, tspan)`)].filter(
      (one) => written(one) && one.getClientRects().length && !one.closest(".heatmap-label, .hoverlayer, .bartext-inside")
    );
    const contrasts = texts.map((one) => [one.textContent, lab.contrast(getComputedStyle(one).fill, page)]);
    const faint = contrasts.filter(([, contrast]) => contrast < 4.5).map(([text, contrast]) => `${text}: ${contrast.toFixed(2)}`);
    return { looked: texts.length, faint: [...new Set(faint)] };
  },

  // How far a pressed button is from its neighbours that are not, at least.
  pressed() {
    const ground = (one) => getComputedStyle(one).backgroundColor;
    const rows = [...document.querySelectorAll(".widget-toggle-buttons")].map((row) => [...row.querySelectorAll("button")]);
    const pairs = rows.flatMap((row) => {
      const chosen = row.find((one) => one.getAttribute("aria-pressed") === "true");
      return row.filter((one) => chosen && one !== chosen).map((one) => lab.contrast(ground(one), ground(chosen)));
    });
    return Math.min(...pairs);
  },

  // A PNG, smaller, and in 32 levels of each colour: a heatmap's grain is most of its bytes.
  async shrunk(png, scale, tallest) {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const size = { width: Math.round(image.width * scale), height: Math.round(image.height * scale) };
    const canvas = Object.assign(document.createElement("canvas"), { ...size, height: Math.min(size.height, tallest) });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, size.width, size.height);
    const drawn = context.getImageData(0, 0, canvas.width, canvas.height);
    drawn.data.forEach((value, at) => (drawn.data[at] = Math.min(255, Math.round(value / 8) * 8)));
    context.putImageData(drawn, 0, 0);
    return canvas.toDataURL("image/png");
  },

  // A PNG's pixels, by the browser that drew it: Python needs no image library.
  async pixels(png) {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    let bytes = "";
    for (let at = 0; at < data.length; at += 32768) bytes += String.fromCharCode(...data.subarray(at, at + 32768));
    return { width: image.width, height: image.height, bytes: btoa(bytes) };
  },
};
